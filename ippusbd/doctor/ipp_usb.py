"""Access rules of ipp-usb: is a printer open now that was closed there?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ippusbd import ipp_usb_conf
from ippusbd.config import SYSTEM_FILE, Config, state_dir
from ippusbd.doctor.findings import Finding, told
from ippusbd.kinds import Kind
from ippusbd.users.accounts import Account


def check(config: Config, file: Path | None) -> Iterator[Finding]:
    """`file`: where the configuration was read from, None for the defaults."""
    conf = ipp_usb_conf.found(config, state_dir(config, os.environ, os.getuid()))
    if conf is None or not conf.access:
        return
    if not conf.access_line and conf.access_broken and os.getuid() != 0:
        yield told(Kind.UNREADABLE.of(path=conf.path), check="access")
        return
    ours_is = file or SYSTEM_FILE
    where, inherited = f"{conf.path}:{conf.access_line}", []
    for kind, names in conf.access.items():
        ours = getattr(config, f"access_{kind}")
        if not ours and kind in config.access_set:
            open_now = Kind.ACCESS_OPEN.of(kind=kind, where=where, names=shown(names), file=ours_is)
            yield told(open_now, check="access")
        elif not ours:
            inherited.append(f"{kind} ({shown(names)})")
    if inherited and conf.access_broken:
        wrong = "; ".join(str(remark) for remark in conf.remarks if remark.wrong)
        kinds = ", ".join(conf.access)
        broken = Kind.ACCESS_BROKEN.of(wrong=wrong, path=conf.path, kinds=kinds, file=ours_is)
        yield told(broken, check="access")
    elif inherited:
        rules = ", ".join(inherited)
        diagnosis = Kind.ACCESS_INHERITED.of(path=conf.path, rules=rules, file=ours_is)
        yield told(diagnosis, check="access")


def shown(names: Iterable[Account]) -> str:
    """The accounts of a rule."""
    return ", ".join(map(str, names))
