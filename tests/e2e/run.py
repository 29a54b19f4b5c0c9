"""`make e2e`: boot a guest with a real Linux USB stack and run the checks, or any command, in it.

    run.py                       all checks
    run.py --only unplug         the checks whose name contains "unplug"
    run.py --command 'lsusb'     a shell command of your own, from the checkout's root

The last line of the checks is `N passed, N failed`. Knows this machine's side
only; what happens inside is in guest/.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from kit import KitError, cache_dir, prepare
from vm import Machine, boot

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]


def main(arguments: Sequence[str]) -> int:
    """Exit status of the command in the guest; 69 if this machine cannot run one."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the guest ends with us
    try:
        return _run(options)
    except KitError as exc:
        print(f"e2e: {exc}", file=sys.stderr)
        return 69


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="checks whose name has TEXT")
    parser.add_argument("--command", metavar="SHELL", help="run this instead of the checks")
    parser.add_argument("--timeout", type=float, default=1200.0, metavar="S", dest="timeout_s")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the guest's logs here")
    return parser


def _run(options: argparse.Namespace) -> int:
    if os.geteuid() != 0:
        raise KitError(
            "the guest's root file system is this machine's, which only root can read whole; "
            "run it as root"
        )
    started = time.monotonic()
    cache = cache_dir()
    kit = prepare(cache)
    command = f"cd {shlex.quote(str(PROJECT))}\n{options.command or _checks(options)}\n"
    machine = Machine(timeout_s=options.timeout_s)
    with tempfile.TemporaryDirectory(dir=cache, prefix="run-") as scratch:
        run_dir = options.logs.resolve() if options.logs else Path(scratch)
        _clear(run_dir)
        print(f"e2e: guest with kernel {kit.release}, its logs in {run_dir}", flush=True)
        status = boot(kit, command, run_dir, machine)
    print(f"e2e: {time.monotonic() - started:.0f} s in all", file=sys.stderr)
    return status


def _checks(options: argparse.Namespace) -> str:
    python = PROJECT / ".venv/bin/python"
    if not python.exists():
        raise KitError("there is no .venv yet; run: make venv")
    # Compiling is slow in the guest, and nothing it compiles would be kept.
    subprocess.run([python, "-m", "compileall", "-q", PROJECT / "ippusbd", HERE], check=False)
    return shlex.join([str(python), str(HERE / "guest/main.py"), "--only", options.only])


def _clear(run_dir: Path) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in ("command", "status", "output", "console.log", "qemu.log"):
        (run_dir / name).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
