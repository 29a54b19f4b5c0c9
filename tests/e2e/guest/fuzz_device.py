"""`make fuzz-device`: devices that answer anything, one after the other, before the real daemon.

Beside them a healthy printer is served all the time. What must hold: the daemon neither ends nor
hangs, answers for the healthy printer within LIMIT_S, logs no failure of its own code, and its
memory and descriptors stay flat. An end by a signal is libusb's or the interpreter's, since our
code is Python: the log has the stack. What the kernel says of itself is shown and not counted.

The last line: `N devices, N exchanges, N faults found`. Exit status 0: none.
"""

from __future__ import annotations

import argparse
import http.client
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

from fuzzed_bus import Cable
from lab import LOGS, Daemon, Desktop, Printers, forget_state, stopping
from programs import run
from report import Failed

from ippusbd.errors import IppUsbError
from ippusbd.virtual.printer import VirtualPrinter
from ippusbd.virtual.usb.usbip import UsbIpServer
from ippusbd.wire import ipp

AT_ONCE = 3
SERIALS = 24  # few, so that what was learned about a device meets it again
LIVES_S = (4.0, 12.0, 30.0)
LIMIT_S = 60.0  # the guest is slow
GROWTH_MIB, GROWTH_FDS = 12, 64
HEALTHY = "VIRTUAL1"
OWN_FAULTS = re.compile(
    r"Traceback|never retrieved|Fatal Python error| failed: \w+(Error|Exception)"
)
KERNEL_FAULTS = re.compile(
    r"BUG:|Oops|WARNING:|general protection|refcount_t|blocked for more than"
)


class Run:
    """What all threads share: the time that is left, what was found, and where printers are."""

    def __init__(self, seconds: float, seed: int) -> None:
        self.end = time.monotonic() + seconds
        self.seed = seed
        self.devices = self.exchanges = 0
        self.changed: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.faults: list[str] = []
        self.ports: list[int] = []  # of devices that are served
        self._lock = threading.Lock()

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.end

    def next_device(self) -> int:
        with self._lock:
            self.devices += 1
            return self.devices

    def over(self, cable: Cable) -> None:
        with self._lock:
            self.exchanges += cable.exchanges
            self.changed += cable.done

    def fault(self, text: str) -> None:
        """Print it, unless the same was found before."""
        if text in self.faults:
            return
        print(f"FAULT after {self.devices} devices, seed {self.seed}: {text}", flush=True)
        self.faults.append(text)


def plug_devices(running: Run) -> None:
    """Plug one device after the other, and ask it for everything; a thread."""
    while running.goes_on:
        number = running.next_device()
        draw = random.Random(f"{running.seed}/{number}")
        printer = VirtualPrinter(
            serial=f"F{draw.randrange(SERIALS)}", interfaces=draw.randint(1, 4), print_s=0.1
        )
        with ExitStack() as stack:
            stack.callback(printer.close)
            printer.plug()
            server = UsbIpServer([printer.device])
            stack.callback(server.close)
            address = server.listen("127.0.0.1", 0)
            busid, devid = server.busid(printer.device), server.devid(printer.device)
            try:
                cable = Cable(address, busid, devid, draw)
            except OSError as exc:
                running.fault(f"a device cannot be attached: {exc}")
                return
            stack.callback(cable.unplug)
            until = time.monotonic() + draw.choice(LIVES_S)
            while running.goes_on and time.monotonic() < until and not cable.is_over.is_set():
                ask_anything(running, draw)
        running.over(cable)


def ask_anything(running: Run, draw: random.Random) -> None:
    """One request of a client; any answer is right, and none within the time is, too."""
    if not (ports := running.ports):
        time.sleep(0.2)
        return
    port = draw.choice(ports)
    document = draw.randbytes(draw.choice((0, 2000, 400_000)))
    about = f"ipp://localhost:{port}/ipp/print"
    method, path, body, kind = draw.choice(
        (
            ("GET", "/", b"", ""),
            ("GET", "/big", b"", ""),
            ("GET", "/eSCL/ScannerCapabilities", b"", ""),
            ("POST", "/sink", document, "application/octet-stream"),
            ("POST", "/ipp/print", ipp.get_printer_attributes(about), "application/ipp"),
            ("POST", "/ipp/print", print_job(about) + document, "application/ipp"),
        )
    )
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=draw.choice((0.3, 3.0, 15.0)))
    try:
        client.request(method, path, body, {"Content-Type": kind} if kind else {})
        answer = client.getresponse()
        answer.read()
        running.answers[str(answer.status)] += 1
    except (OSError, http.client.HTTPException) as exc:
        running.answers[type(exc).__name__] += 1
    finally:
        client.close()


def print_job(uri: str) -> bytes:
    """The head of a Print-Job request."""
    attributes = (
        ipp.attribute("attributes-charset", ipp.charset()),
        ipp.attribute("attributes-natural-language", ipp.language()),
        ipp.attribute("printer-uri", ipp.uri(uri)),
        ipp.attribute("requesting-user-name", ipp.name("fuzz")),
    )
    group = ipp.Group(ipp.Tag.OPERATION, attributes)
    return ipp.encode(ipp.Message(ipp.Operation.PRINT_JOB, 1, (group,), (2, 0)))


class Watched:
    """A daemon, which is started again when it ended."""

    def __init__(self, running: Run, stack: ExitStack) -> None:
        self._running = running
        self.daemon = Daemon()
        stack.callback(lambda: self.daemon.kill() if self.daemon.service.running else None)
        self._read = 0  # of its log
        self.sizes: list[tuple[float, int]] = []  # MiB and descriptors

    def look(self) -> None:
        """Everything that must hold now."""
        running = self._running
        if not self.daemon.service.running:
            code = self.daemon.service.process.returncode
            whose = f"by signal {-code}: libusb or Python" if code < 0 else f"with status {code}"
            running.fault(f"the daemon ended {whose}\n{self.daemon.service.words(40)}")
            self.daemon = Daemon()
            self.sizes.clear()
        self._log()
        began = time.monotonic()
        try:
            rows = self.daemon.printers()
        except IppUsbError as exc:
            running.fault(f"the daemon does not answer its control socket: {exc}")
            return
        running.ports = [row["port"] for row in rows if row["port"] and row["serial"] != HEALTHY]
        for row in rows:
            if row["serial"] == HEALTHY and row["state"] == "ready":
                self._must_serve(row["port"], began)
        self.sizes.append(self._size())

    def _must_serve(self, port: int, began: float) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        try:
            client.request("GET", "/")
            status = client.getresponse().status
            if status != 200:
                self._running.fault(f"the healthy printer answers {status}")
        except (OSError, http.client.HTTPException) as exc:
            took_s = time.monotonic() - began
            self._running.fault(f"the healthy printer is not served: {exc!r} after {took_s:.0f} s")
        finally:
            client.close()

    def _log(self) -> None:
        with self.daemon.service.log.open(errors="replace") as log:
            log.seek(self._read)
            text = log.read()
            self._read = log.tell()
        if found := OWN_FAULTS.search(text):
            start = text.rfind("\n", 0, found.start()) + 1
            self._running.fault(f"in the daemon's log:\n{text[start : start + 3000]}")

    def _size(self) -> tuple[float, int]:
        process = Path(f"/proc/{self.daemon.service.pid}")
        pages = int((process / "statm").read_text().split()[1])
        return pages * 4096 / (1 << 20), len(list((process / "fd").iterdir()))

    def must_be_flat(self) -> str:
        """From a quarter of the time to its end."""
        if len(self.sizes) < 8:
            return "too few looks to judge its memory"
        at, end = self.sizes[len(self.sizes) // 4], self.sizes[-1]
        text = f"{at[0]:.1f} -> {end[0]:.1f} MiB, {at[1]} -> {end[1]} descriptors"
        if end[0] - at[0] > GROWTH_MIB or end[1] - at[1] > GROWTH_FDS:
            self._running.fault(f"the daemon grows: {text}")
        return text


def fuzz(running: Run) -> None:
    """Until the time is over; then everything is unplugged, and the daemon stopped."""
    forget_state()
    healthy = Printers()
    with stopping(healthy), ExitStack() as stack:
        watched = Watched(running, stack)
        watched.daemon.ready()
        plugging = [threading.Thread(target=plug_devices, args=(running,)) for _ in range(AT_ONCE)]
        for thread in plugging:
            thread.start()
        while any(thread.is_alive() for thread in plugging):
            watched.look()
            time.sleep(2)
        try:
            watched.daemon.ready()
            watched.look()
            print(watched.must_be_flat())
            watched.daemon.stop()
        except Failed as exc:
            running.fault(str(exc))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    desktop = Desktop()
    desktop.start()
    signal.alarm(int(options.seconds) + 600)  # nothing here may hang for ever
    running = Run(options.seconds, options.seed)
    try:
        fuzz(running)
    finally:
        with suppress(Failed):
            desktop.stop()
    kernel = [line for line in run("dmesg").splitlines() if KERNEL_FAULTS.search(line)]
    print(f"changed: {dict(running.changed.most_common())}")
    print(f"answers to clients: {dict(running.answers.most_common())}")
    print(f"the kernel's own faults: {len(kernel)}", *kernel[:20], sep="\n  ")
    (LOGS / "dmesg.log").write_text(run("dmesg"))
    count = len(running.faults)
    print(f"{running.devices} devices, {running.exchanges} exchanges, {count} faults found")
    return 1 if running.faults else 0


if __name__ == "__main__":
    sys.exit(main())
