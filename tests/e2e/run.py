"""`make e2e`: boot a guest with a real Linux USB stack and run the checks, or any command, in it.

    run.py                       all checks, in two guests at once
    run.py --only unplug         the checks whose name contains "unplug", in one
    run.py --command 'lsusb'     a shell command of your own, from the checkout's root

The last line of the checks is `N passed, N failed`. Knows this machine's side
only; what happens inside is in guest/.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kit import Kit, KitError, cache_dir, prepare
from vm import FOLLOW_S, Machine, boot

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
PARTS = ("1", "2")  # of the checks, one guest each: an emulated processor is one of ours
SUM = re.compile(r"^(\d+) passed, (\d+) failed$")


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
    parser.add_argument("--part", choices=PARTS, help="one of the guests' share of the checks")
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
    kit = prepare(cache_dir())
    if options.command or options.only or options.part:
        status = _one_guest(kit, options)
    else:
        status = _all_guests(options)
    print(f"e2e: {time.monotonic() - started:.0f} s in all", file=sys.stderr)
    return status


def _one_guest(kit: Kit, options: argparse.Namespace) -> int:
    command = f"cd {shlex.quote(str(PROJECT))}\n{options.command or _checks(options)}\n"
    machine = Machine(timeout_s=options.timeout_s)
    with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="run-") as scratch:
        run_dir = options.logs.resolve() if options.logs else Path(scratch)
        _clear(run_dir)
        print(f"e2e: guest with kernel {kit.release}, its logs in {run_dir}", flush=True)
        return boot(kit, command, run_dir, machine)


def _all_guests(options: argparse.Namespace) -> int:
    """Every part in its own guest; printed one after the other, the sum at the end."""
    passed = failed = 0
    with ExitStack() as guests:
        running = [guests.enter_context(_guest(options, part)) for part in PARTS]
        for process, output in running:
            for line in _lines(process, output):
                if counts := SUM.match(line):
                    passed, failed = passed + int(counts[1]), failed + int(counts[2])
                else:
                    print(line, flush=True)
        statuses = [process.returncode for process, _ in running]
    print(f"{passed} passed, {failed} failed", flush=True)
    return next((status for status in statuses if status), 0)


@contextmanager
def _guest(options: argparse.Namespace, part: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """This script with one part, and the file it writes to."""
    arguments = ["--part", part, "--timeout", str(options.timeout_s)]
    if options.logs:
        arguments += ["--logs", str(options.logs / part)]
    with tempfile.NamedTemporaryFile("w", dir=cache_dir(), prefix=f"part-{part}-") as output:
        process = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdout=output, stderr=output, text=True
        )
        try:
            yield process, Path(output.name)
        finally:
            process.terminate()
            process.wait()


def _lines(process: subprocess.Popen[str], path: Path) -> Iterator[str]:
    """The lines written to a file, until the writer has ended."""
    with path.open() as output:
        rest, ended = "", False
        while not ended:
            ended = process.poll() is not None
            *lines, rest = (rest + output.read()).split("\n")
            yield from lines
            if not ended:
                time.sleep(FOLLOW_S)
        if rest:
            yield rest


def _checks(options: argparse.Namespace) -> str:
    python = PROJECT / ".venv/bin/python"
    if not python.exists():
        raise KitError("there is no .venv yet; run: make venv")
    # Compiling is slow in the guest, and nothing it compiles would be kept.
    subprocess.run([python, "-m", "compileall", "-q", PROJECT / "ippusbd", HERE], check=False)
    checks = [str(python), str(HERE / "guest/main.py"), "--only", options.only]
    return shlex.join([*checks, *(("--part", options.part) if options.part else ())])


def _clear(run_dir: Path) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in ("command", "status", "output", "console.log", "qemu.log"):
        (run_dir / name).unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
