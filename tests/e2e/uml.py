"""Boot the throw-away guest as user-mode Linux: the other engine, with vm.py's interface.

The kernel is a process of this machine, so programs in the guest run at native
speed; system calls and page faults cost more, and there is one processor. What
a claim says about Python's speed is measured here; what it says about Debian's
own kernel, in QEMU.

The guest is made of the same things: this machine's root read-only below a
tmpfs, the run directory at /e2e, guest/init. Its memory is a file in a tmpfs
that only its own mount namespace has, so nothing is left of it.

Knows UML's command line; how the kernel is made is uml_kernel's matter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kit import Kit, cache_dir
from uml_kernel import uml_kernel
from vm import TIMED_OUT, Machine, exit_status

HERE = Path(__file__).resolve().parent

# $1 is the size of the tmpfs, the rest the kernel and its arguments. The guest never sees our /dev.
IN_PRIVATE_TMPFS = 'mount -t tmpfs -o "size=$1" e2e /dev/shm && shift && TMPDIR=/dev/shm exec "$@"'


def boot(kit: Kit, command: str, run_dir: Path, machine: Machine) -> int:
    """Run the shell text `command` in a fresh guest; its exit status, or one of vm.py's."""
    kernel = uml_kernel(cache_dir())
    (run_dir / "command").write_text(command)
    outcome = _run(kernel, kit, run_dir, machine)
    return exit_status(run_dir, outcome, machine.timeout_s)


def _run(kernel: Path, kit: Kit, run_dir: Path, machine: Machine) -> int:
    with _streaming() as output, (run_dir / "console.log").open("wb") as console:
        process = subprocess.Popen(
            [
                *("unshare", "--mount", "sh", "-c", IN_PRIVATE_TMPFS, "sh"),
                f"{machine.memory_mb + 64}m",
                str(kernel),
                *_arguments(kit, run_dir, machine, output, console.fileno()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            pass_fds=(output, console.fileno()),
            start_new_session=True,
        )
        try:
            return process.wait(machine.timeout_s)
        except subprocess.TimeoutExpired:
            return TIMED_OUT
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Its guest's processes are processes of this machine, all in its own group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _streaming() -> Iterator[int]:
    """A descriptor whose data appears on our standard output as it comes."""
    read_end, write_end = os.pipe()
    reader = threading.Thread(target=_copy, args=(read_end,), daemon=True)
    reader.start()
    try:
        yield write_end
    finally:
        os.close(write_end)
        reader.join(10)


def _copy(read_end: int) -> None:
    with os.fdopen(read_end, "rb", buffering=0) as pipe:
        while data := pipe.read(65536):
            sys.stdout.buffer.write(data)
            sys.stdout.flush()


def _arguments(
    kit: Kit, run_dir: Path, machine: Machine, output: int, console: int
) -> Iterator[str]:
    yield from (f"mem={machine.memory_mb}M", f"uml_dir={run_dir}", "umid=e2e")
    yield from ("root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro")
    yield f"init={HERE}/guest/uml-init"
    yield from ("con=null", f"con0=null,fd:{console}", "console=tty0")
    yield from ("ssl=null", f"ssl0=null,fd:{output}")
    yield from ("quiet", "loglevel=4", "panic=-1")
    yield from (f"e2e.extra={kit.extra}", f"e2e.run={run_dir}", f"e2e.init={HERE}/guest/init")
