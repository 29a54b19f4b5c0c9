"""`make fuzz`: all parsers in parallel, each for `--seconds`, starting from the corpus.

    python -m fuzz --seconds 600 [--seed 7] [TARGET ...]
    python -m fuzz --inputs 10000000 [TARGET ...]   so many, most of them unguided

Every target has a process, since a fuzzer ends by a crash. Each finding is kept as
a case in tests/fuzz/found, for pytest. Exit status 0: no finding.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz import corpus
from fuzz.targets import TARGETS

INPUT_BYTES = 16 * 1024
INPUT_S = 20  # one input that takes longer is a fault, also on a busy machine
RSS_MIB = 1024


def start(target: str, options: argparse.Namespace, folder: Path) -> subprocess.Popen[str]:
    """One fuzzer; its seeds and its findings are in `folder`."""
    seeds, found = folder / "seeds", folder / "found"
    seeds.mkdir(parents=True)
    found.mkdir()
    for path in corpus.kept(target):
        (seeds / path.stem).write_bytes(corpus.read(path))
    limit = ("runs", options.inputs) if options.inputs else ("max_total_time", options.seconds)
    settings = {
        limit[0]: limit[1],
        "seed": options.seed,
        "max_len": INPUT_BYTES,
        "timeout": INPUT_S,
        "rss_limit_mb": RSS_MIB,
        "artifact_prefix": f"{found}/",
        "print_final_stats": 1,
    }
    shallow = ["--shallow"] if options.inputs else []
    command = [sys.executable, "-m", "fuzz.one", *shallow, target, str(seeds)]
    command += [f"-{name}={value}" for name, value in settings.items()]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)


def finish(target: str, fuzzer: subprocess.Popen[str], folder: Path) -> bool:
    """Wait for its end, print its result, keep its findings. True: there are none."""
    code = fuzzer.wait()
    log = (folder / "log").read_text(errors="replace")
    tried = re.search(r"number_of_executed_units:\s*(\d+)", log)
    findings = sorted((folder / "found").iterdir())
    for finding in findings:
        kept = corpus.HERE / "found" / target / f"{finding.name[:20]}.txt"
        corpus.write(kept, finding.read_bytes(), f"{finding.name.split('-')[0]}")
        print(f"{target}: FAULT, kept as {kept}")
    ok = code == 0 and not findings
    print(f"{target:5} {tried[1] if tried else '?'} inputs, {'no fault' if ok else 'FAILED'}")
    if not ok:
        print("\n".join(log.splitlines()[-60:]))
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", default=list(TARGETS), metavar="TARGET")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--inputs", type=int, help="for each target, instead of seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        running = {}
        for target in options.targets:
            folder = Path(name) / target
            running[target] = start(target, options, folder), folder
        each = f"{options.inputs} inputs" if options.inputs else f"{options.seconds} s"
        print(f"fuzz: {', '.join(running)}, {each} each, side by side", flush=True)
        well = [finish(target, *started) for target, started in running.items()]
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
