"""Access rules of ipp-usb: is a printer open now that was closed there?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ippusbd import ipp_usb_conf
from ippusbd.config import SYSTEM_FILE, Config, state_dir
from ippusbd.doctor.findings import Finding, note, problem
from ippusbd.users.accounts import Account


def check(config: Config, file: Path | None) -> Iterator[Finding]:
    """`file`: where the configuration was read from, None for the defaults."""
    conf = ipp_usb_conf.found(config, state_dir(config, os.environ, os.getuid()))
    if conf is None or not conf.access:
        return
    if not conf.access_line and conf.access_broken and os.getuid() != 0:
        yield note("access", f"{conf.path} cannot be read by you", "run this as root to check it")
        return
    where, inherited = f"{conf.path}:{conf.access_line}", []
    for kind, names in conf.access.items():
        ours = getattr(config, f"access_{kind}")
        if not ours and kind in config.access_set:
            yield problem(
                "access",
                f"{kind}: everybody may; {where} allows only {shown(names)}",
                f"set {kind} in [access] of {file or SYSTEM_FILE}, or delete that rule if this is "
                "intended",
            )
        elif not ours:
            inherited.append(f"{kind} ({shown(names)})")
    if inherited and conf.access_broken:
        wrong = "; ".join(str(remark) for remark in conf.remarks if remark.wrong)
        yield problem(
            "access",
            f"only root may use printers: {wrong}",
            f"correct {conf.path}, or set {', '.join(conf.access)} in [access] of "
            f"{file or SYSTEM_FILE}",
        )
    elif inherited:
        yield note(
            "access",
            f"restricted as in {conf.path}: {', '.join(inherited)}",
            f"ippusbd migrate writes these rules into {file or SYSTEM_FILE}",
        )


def shown(names: Iterable[Account]) -> str:
    """The accounts of a rule."""
    return ", ".join(map(str, names))
