"""`make bench-peer`: our daemon beside Debian's newest ipp-usb on the same virtual printer.

Both run in one guest, one after the other.

    bench_peer.py                                  everything, in QEMU
    bench_peer.py --only throughput,rate --rounds 3
    bench_peer.py --engine uml                     Python at native speed
    bench_peer.py --channel threads,async --transfer-kb 64,256

Prints a table of medians with the ratio ours/peer and the verdict on each
target, and writes every figure of every round to a JSON file. Do not compare
figures of different runs or engines, only ratios within one run.

Knows this machine's side; in_guest.py is the other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import uml
import vm
from figures import report, table
from kit import KitError, cache_dir, newest, prepare
from vm import Machine

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[2]
PYTHON = PROJECT / ".venv/bin/python"
PARTS = ("all", "plug", "latency", "rate", "throughput", "rss", "vanish", "bare")
ENGINES = {"qemu": vm.boot, "uml": uml.boot}
PASSED_ON = ("rounds", "only", "channel", "transfer_kb", "seconds", "megabytes", "cycles")


def main(arguments: Sequence[str]) -> int:
    """0: measured, whatever the targets say, unless --strict; 1: ours failed; 69: cannot run."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the guest ends with us
    try:
        return _run(options)
    except KitError as exc:
        print(f"bench-peer: {exc}", file=sys.stderr)
        return 69


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--engine", choices=ENGINES, default="qemu", help="the guest (qemu)")
    add("--rounds", type=_positive, default=2, metavar="N", help="of each daemon (2)")
    add("--only", type=_parts, default="all", metavar="PARTS", help=f"of {', '.join(PARTS)}")
    add("--channel", default="", metavar="NAMES", help="threads, async or both; ours only")
    add("--transfer-kb", default="", metavar="SIZES", help="of our USB transfers, as 64,256")
    add("--seconds", type=float, default=5.0, metavar="S", help="of each latency and rate (5)")
    add("--megabytes", type=_positive, default=50, metavar="N", help="per transfer (50)")
    add("--cycles", type=_positive, default=3, metavar="N", help="of unplug and plug a round (3)")
    add("--vanishing", type=_positive, default=200, metavar="N", help="clients that leave (200)")
    add("--quiet-peer", action="store_true", help="switch off the logs that Debian has on")
    add("--json", type=Path, default=Path("bench-peer.json"), metavar="FILE", help="all figures")
    add("--strict", action="store_true", help="exit status 1 if a target is missed")
    add("--timeout", type=float, default=3600.0, metavar="S", dest="timeout_s")
    add("--nice", type=int, default=0, metavar="N", help="-10: before this machine's other work")
    add("--logs", type=Path, metavar="DIR", help="keep the guest's logs here")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError("must be a number above 0")
    return int(text)


def _parts(text: str) -> str:
    for part in text.split(","):
        if part not in PARTS:
            raise argparse.ArgumentTypeError(f"{part!r} is none of {', '.join(PARTS)}")
    return text


def _run(options: argparse.Namespace) -> int:
    if os.geteuid() != 0:
        raise KitError("the guest's root is this machine's, which only root can read whole")
    if not PYTHON.exists():
        raise KitError("there is no .venv yet; run: make venv")
    cache = cache_dir()
    version, peer = newest("ipp-usb", cache)
    kit, load = replace(prepare(cache), extra=peer), _load(cache)
    subprocess.run([PYTHON, "-m", "compileall", "-q", PROJECT / "ippusbd"], check=False)
    with tempfile.TemporaryDirectory(dir=cache, prefix="bench-") as scratch:
        run_dir = options.logs.resolve() if options.logs else Path(scratch)
        _clear(run_dir)
        machine = Machine(timeout_s=options.timeout_s)
        os.nice(options.nice)
        if options.engine == "uml":  # its programs take turns: each would wake another processor
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        boot = ENGINES[options.engine]
        status = boot(kit, _command(options, load), run_dir, machine)
        result = run_dir / "result.json"
        rows = json.loads(result.read_text()) if result.exists() else []
    concluded = _conclude(options, rows, version)
    return status or concluded


def _clear(run_dir: Path) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    for name in ("command", "status", "output", "console.log", "result.json"):
        (run_dir / name).unlink(missing_ok=True)


def _load(cache: Path) -> Path:
    """load.c compiled, once per version of it."""
    source, program = HERE / "load.c", cache / "load"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        flags = ("-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-pthread")
        try:
            subprocess.run(["gcc", *flags, "-o", program, source], check=True)
        except (OSError, subprocess.CalledProcessError) as exc:
            raise KitError(f"the load generator cannot be compiled: {exc}") from exc
    return program


def _command(options: argparse.Namespace, load: Path) -> str:
    words = [str(PYTHON), str(HERE / "in_guest.py"), "--load", str(load)]
    words += ["--result", "/e2e/result.json", "--vanishing", str(options.vanishing)]
    for name in PASSED_ON:
        words += [f"--{name.replace('_', '-')}={getattr(options, name)}"]
    words += ["--quiet-peer"] * options.quiet_peer
    path = f"{PROJECT}/tests/e2e/guest:{HERE}"
    return f"cd {PROJECT}\nexport PYTHONPATH={shlex.quote(path)}\nexec {shlex.join(words)}\n"


def _conclude(options: argparse.Namespace, rows: list[dict[str, Any]], version: str) -> int:
    """Print the tables, keep the figures; the exit status."""
    peer = next((row["server"] for row in rows if row["server"].startswith("ipp-usb")), "ipp-usb")
    tables = {ours: report(rows, ours, peer, options.engine) for ours in _ours(rows)}
    for ours, entries in tables.items():
        print(f"\n{options.engine}, ipp-usb {version}, {options.rounds} rounds, medians; {_busy()}")
        print("\n".join(table(entries, ours, peer)), flush=True)
    about = {
        "engine": options.engine,
        "peer": version,
        "date": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "kernel_of_the_host": platform.release(),
        "machine": _busy(),
    }
    text = json.dumps({"about": about, "tables": tables, "rows": rows}, indent=1)
    options.json.write_text(text + "\n")
    print(f"\nall figures: {options.json}")
    missed = any(one["met"] is False for entries in tables.values() for one in _targets(entries))
    failed = any(row["what"] == "failed" and row["server"] in tables for row in rows)
    return 1 if failed or (options.strict and missed) else 0


def _busy() -> str:
    """Whether the machine was busy with something else; a reader of the figures should know."""
    return f"load of this machine {os.getloadavg()[1]:.1f} on {os.cpu_count()} processors"


def _ours(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(r["server"] for r in rows if r["server"].startswith("ippusbd")))


def _targets(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        yield from entry["targets"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
