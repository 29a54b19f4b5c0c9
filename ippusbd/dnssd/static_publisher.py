"""Services given to Avahi as files, for containers and sandboxes without D-Bus.

avahi-daemon watches a folder (/etc/avahi/services) and announces the services in its `*.service`
files. Each set is one file, its fixed records another. A file is replaced atomically and removed
with its set; files left by a crash are removed at the next start: every `ippusbd-*.service` in
the folder is ours, so one folder belongs to one daemon.

Files carry no host name: Avahi uses its own. (One of ours would need an address in
/etc/avahi/hosts, and Avahi refuses a second name for 127.0.0.1 there.)

There is no answer from Avahi. It resolves a collision with other hosts by "NAME #2"; our own
printers get different names here. It announces a file's services on every interface that it
serves: on a machine with a network, its configuration needs `allow-interfaces=lo`.

Knows the file format (avahi-service.dtd), never Avahi.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from ippusbd.dnssd.naming import NameBook
from ippusbd.dnssd.protocols import ESTABLISHED
from ippusbd.dnssd.publication import TaskPublication, TaskPublisher
from ippusbd.errors import ConfigError, PublishError
from ippusbd.model import ServiceRecord, ServiceSet

log = logging.getLogger("ippusbd.dnssd")

PREFIX = "ippusbd-"
MAX_TEMPLATE_BYTES = 1 << 16

# The same as avahi/services/template.service, which may not be installed; a test compares them.
TEMPLATE = """\
<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE service-group SYSTEM "avahi-service.dtd">
<!--
  Written by ippusbd ([dnssd] publisher = "static"), and removed by it. This is its template; with
  a copy of it, named in static_template, you add services of your own to those of each printer.
-->
<service-group>
  <name replace-wildcards="no">@NAME@</name>
@SERVICES@
</service-group>
"""
NOT_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def service_file(name: str, records: tuple[ServiceRecord, ...], template: str = TEMPLATE) -> str:
    """The text of an Avahi service file that announces `records` as `name`."""
    services = "\n".join(f"  {_service(record)}" for record in records)
    filling = {"@NAME@": escape(name), "@SERVICES@": services}
    return re.sub("|".join(filling), lambda match: filling[match[0]], template)


def read_template(path: Path) -> str:
    """An administrator's template. Raises ConfigError for one that cannot become a service file."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TEMPLATE_BYTES).decode()
        ElementTree.fromstring(text.replace("@SERVICES@", "").replace("@NAME@", ""))
    except OSError as exc:
        raise ConfigError(f"[dnssd] static_template: {path}: {exc.strerror}") from exc
    except (UnicodeDecodeError, ElementTree.ParseError) as exc:
        raise ConfigError(f"[dnssd] static_template: {path}: not XML: {exc}") from exc
    if "@NAME@" not in text or "@SERVICES@" not in text:
        raise ConfigError(f"[dnssd] static_template: {path}: must contain @NAME@ and @SERVICES@")
    return text


def _service(record: ServiceRecord) -> str:
    service = ElementTree.Element("service")
    ElementTree.SubElement(service, "type").text = record.type
    for subtype in record.subtypes:
        ElementTree.SubElement(service, "subtype").text = f"{subtype}._sub.{record.type}"
    ElementTree.SubElement(service, "port").text = str(record.port)
    for key, value in record.txt:
        _add_txt(service, key, value)
    ElementTree.indent(service, level=1)
    return ElementTree.tostring(service, encoding="unicode")


def _add_txt(service: ElementTree.Element, key: str, value: str) -> None:
    item = ElementTree.SubElement(service, "txt-record")
    if NOT_XML.search(value):
        item.set("value-format", "binary-hex")
        value = value.encode().hex()
    item.text = f"{key}={value}"


class StaticPublication(TaskPublication["StaticPublisher"]):
    """One set of services in the folder."""

    async def announce(self) -> None:
        """Keep the files in the folder until cancelled; retry while it cannot be written."""
        try:
            self._name = next(self._owner.book.free(self.name, self.services))
        except PublishError as exc:
            self.set_state(str(exc))
            return
        with self._owner.book.held(self.name):
            files = self._owner.files(self.services.renamed(self.name))
            try:
                await self._hold(files)
            finally:
                await _in_thread(_remove, files)

    async def _hold(self, files: dict[Path, str]) -> None:
        while True:
            try:
                await _in_thread(_write, files)
            except OSError as exc:
                self.set_state(f"cannot write {exc.filename}: {exc.strerror}")
                await asyncio.sleep(self._owner.retry_s)
            else:
                self.set_state(ESTABLISHED)
                await asyncio.Event().wait()


class StaticPublisher(TaskPublisher):
    """Announces through Avahi's folder of static services."""

    kind = "static"

    def __init__(
        self,
        folder: Path,
        *,
        template: str = TEMPLATE,
        retry_s: float = 5.0,
    ) -> None:
        """`retry_s`: the pause after a failure to write."""
        super().__init__()
        self.trouble = ""
        self.retry_s = retry_s
        self._folder = folder
        self._template = template
        self.book = NameBook()

    async def start(self) -> None:
        """Remove the files of a killed daemon; `trouble` says if the folder cannot be used."""
        try:
            await asyncio.to_thread(self._clear)
        except OSError as exc:
            self.trouble = f"cannot use {self._folder}: {exc.strerror}"

    def _clear(self) -> None:
        if not self._folder.is_dir():
            raise NotADirectoryError(20, "not a folder", str(self._folder))
        for left in (*self._folder.glob(f"{PREFIX}*.service"), *self._folder.glob(f".{PREFIX}*")):
            log.info("removing %s, left by a daemon that was killed", left)
            left.unlink(missing_ok=True)

    def publication(self, services: ServiceSet) -> StaticPublication:
        return StaticPublication(self, services)

    def files(self, services: ServiceSet) -> dict[Path, str]:
        """The files for `services`: path and content."""
        groups = {services.name: services.records}
        for record in services.fixed:
            groups[record.name] = (*groups.get(record.name, ()), record)
        return {
            self._folder / f"{PREFIX}{_digest(name, services)}.service": service_file(
                name, records, self._template
            )
            for name, records in groups.items()
        }


def _digest(name: str, services: ServiceSet) -> str:
    """A part of a file name that is unique to the set, whatever characters its name has."""
    return hashlib.sha256(f"{name}\n{services.name}".encode()).hexdigest()[:16]


async def _in_thread(work: Callable[[dict[Path, str]], None], files: dict[Path, str]) -> None:
    """Run `work` to its end, even if cancelled: nothing may be written after the removal."""
    task = asyncio.ensure_future(asyncio.to_thread(work, files))
    try:
        await asyncio.shield(task)
    finally:
        await asyncio.wait({task})


def _write(files: dict[Path, str]) -> None:
    for path, text in files.items():
        write_whole(path, text)


def write_whole(
    path: Path, text: str, rename: Callable[[Path, Path], object] = Path.replace
) -> None:
    """Write a file that no reader ever sees incomplete."""
    half = path.with_name(f".{path.name}.tmp")  # Avahi reads names that end in .service
    half.write_text(text, encoding="utf-8")
    half.chmod(0o644)  # whatever our umask: Avahi is another user
    rename(half, path)


def _remove(files: dict[Path, str]) -> None:
    for path in files:
        try:
            path.unlink(missing_ok=True)
        except OSError as exc:
            log.warning("cannot remove %s: %s", path, exc.strerror)
