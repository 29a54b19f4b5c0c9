"""Boot the throw-away guest and run one command in it.

The guest is QEMU under plain emulation: it needs no KVM and no rights in the
kernel of this machine. Its root is this machine's root file system, read-only
below a tmpfs, so the checkout, `.venv` and every installed program are at
their usual paths and nothing the guest does survives, except in the run
directory, which is /e2e there.

The command's output streams to ours as it comes, its exit status is ours, and
a guest that does not end in time is killed. Knows QEMU; nothing of USB.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kit import Kit, KitError

HERE = Path(__file__).resolve().parent
TIMED_OUT = 124  # what timeout(1) returns
NO_STATUS = 70  # the guest ended without saying how
FOLLOW_S = 0.1

KERNEL_ARGUMENTS = (
    "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The guest's size, and how long it may take as a whole."""

    memory_mb: int = 4096
    processors: int = 2
    timeout_s: float = 1200.0


def boot(kit: Kit, command: str, run_dir: Path, machine: Machine) -> int:
    """Run the shell text `command` in a fresh guest; its exit status, or one of ours above."""
    (run_dir / "command").write_text(command)
    return run_to_end(_arguments(kit, run_dir, machine), run_dir, machine)


def run_to_end(arguments: Sequence[str], run_dir: Path, machine: Machine) -> int:
    """QEMU with these arguments; what appears in `run_dir`/output is ours, and so is /status."""
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        raise KitError("qemu-system-x86_64 is missing on this machine; run: make packages")
    output = run_dir / "output"
    output.touch()  # a chardev on stdio would block the guest once stdin ends
    ended = threading.Event()
    reader = threading.Thread(target=_follow, args=(output, ended), daemon=True)
    reader.start()
    outcome = _run_qemu([qemu, *arguments], run_dir, machine.timeout_s)
    ended.set()
    reader.join()
    return exit_status(run_dir, outcome, machine.timeout_s)


def _follow(path: Path, ended: threading.Event) -> None:
    """Copy what is appended to a file to our standard output until it has ended."""
    with path.open("rb") as output:
        last = False
        while not last:
            last = ended.wait(FOLLOW_S)
            while data := output.read(65536):
                sys.stdout.buffer.write(data)
                sys.stdout.flush()


def _run_qemu(command: Sequence[str], run_dir: Path, timeout_s: float) -> int:
    with (run_dir / "qemu.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return TIMED_OUT
        finally:
            process.kill()
            process.wait()


def exit_status(run_dir: Path, outcome: int, timeout_s: float) -> int:
    """The command's exit status, or the reason for none, printed with the ends of the logs."""
    status = run_dir / "status"
    if status.exists() and status.read_text().strip():
        return int(status.read_text())
    if outcome == TIMED_OUT:
        print(f"e2e: the guest was not done after {timeout_s:.0f} s", file=sys.stderr)
    else:
        print(f"e2e: the guest ended without a status (exit status {outcome})", file=sys.stderr)
    for name in ("console.log", "qemu.log"):
        print("".join(_last_lines(run_dir / name, 30)), file=sys.stderr)
    return TIMED_OUT if outcome == TIMED_OUT else NO_STATUS


def _last_lines(path: Path, count: int) -> list[str]:
    if not path.exists():
        return []
    return path.read_text(errors="replace").splitlines(keepends=True)[-count:]


def _arguments(kit: Kit, run_dir: Path, machine: Machine) -> list[str]:
    kernel_arguments = f"{KERNEL_ARGUMENTS} e2e.modules={kit.modules} e2e.init={HERE}/guest/init"
    return [
        *board(run_dir, machine),
        "-no-reboot",
        *share("root", Path("/"), writable=False),
        *share("extra", kit.extra, writable=False),
        *share("run", run_dir, writable=True),
        *("-kernel", str(kit.kernel), "-initrd", str(kit.initramfs), "-append", kernel_arguments),
    ]


def board(run_dir: Path, machine: Machine) -> Iterator[str]:
    """The emulated machine without disks: its console in `run_dir`, a port for output."""
    yield from ("-accel", "tcg,thread=multi,tb-size=512", "-machine", "q35", "-cpu", "max")
    yield from ("-smp", str(machine.processors), "-m", str(machine.memory_mb))
    yield from ("-nodefaults", "-display", "none", "-nic", "none")
    console = f"file,id=console,path={run_dir}/console.log,append=on"
    yield from ("-chardev", console, "-serial", "chardev:console")
    yield from ("-device", "virtio-rng-pci", "-device", "virtio-serial-pci")
    yield from ("-chardev", f"file,id=output,path={run_dir}/output")
    yield from ("-device", "virtserialport,chardev=output,name=e2e.out")


def share(tag: str, path: Path, *, writable: bool) -> Iterator[str]:
    """A 9p export; `multidevs=remap` keeps inode numbers of several file systems apart."""
    access = "off" if writable else "on"
    yield "-fsdev"
    yield f"local,id={tag},path={path},security_model=passthrough,readonly={access},multidevs=remap"
    yield "-device"
    yield f"virtio-9p-pci,fsdev={tag},mount_tag=e2e{tag}"
