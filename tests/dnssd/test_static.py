"""Files in Avahi's folder: whole or absent, ours to remove, readable by Avahi's own rules."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.avahi_browse import Browse
from support.desktop import Desktop
from support.services import fresh_name, make_services
from support.waiting import until

from ippusbd.dnssd.limits import check
from ippusbd.dnssd.protocols import ESTABLISHED
from ippusbd.dnssd.select import make_publisher
from ippusbd.dnssd.static_publisher import (
    TEMPLATE,
    StaticPublisher,
    read_template,
    service_file,
    write_whole,
)
from ippusbd.errors import ConfigError, PublishError
from ippusbd.model import ServiceRecord, ServiceSet


async def test_start_removes_what_a_crash_left_and_nothing_else(tmp_path: Path) -> None:
    ours = [tmp_path / "ippusbd-0123.service", tmp_path / ".ippusbd-4567.service.tmp"]
    foreign = [tmp_path / "ssh.service", tmp_path / "ippusbd-notes.txt"]
    for path in (*ours, *foreign):
        path.write_text("something")

    publisher = StaticPublisher(tmp_path)
    await publisher.start()

    assert publisher.trouble == ""
    assert sorted(tmp_path.iterdir()) == sorted(foreign)


async def test_a_folder_that_is_not_there_is_trouble_and_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "services"
    publisher = StaticPublisher(folder, retry_s=0.01)
    await publisher.start()
    assert str(folder) in publisher.trouble

    publication = await publisher.publish(make_services("Printer"))
    assert publication.state.startswith(f"cannot write {folder}")
    folder.mkdir()

    await until(lambda: publication.state == ESTABLISHED, "established")
    await publisher.close()
    assert list(folder.iterdir()) == []


def test_no_reader_ever_sees_an_incomplete_file(tmp_path: Path) -> None:
    path = tmp_path / "P.service"

    def rename(half: Path, target: Path) -> None:
        assert list(tmp_path.glob("*.service")) == []
        assert half.read_text() == "<complete/>"
        half.replace(target)

    write_whole(path, "<complete/>", rename)
    assert path.read_text() == "<complete/>"
    assert list(tmp_path.iterdir()) == [path]


async def test_files_can_be_read_by_avahi_under_another_user(tmp_path: Path) -> None:
    mask = os.umask(0o077)
    try:
        publisher = StaticPublisher(tmp_path)
        await publisher.start()
        await publisher.publish(make_services("Printer"))
        assert all(path.stat().st_mode & 0o044 == 0o044 for path in tmp_path.iterdir())
        await publisher.close()
    finally:
        os.umask(mask)


@given(
    name=st.text(min_size=1, max_size=20),
    value=st.text(st.characters(codec="utf-8"), max_size=60),
)
def test_any_set_that_passes_the_checks_is_well_formed_and_keeps_its_values(
    name: str, value: str
) -> None:
    record = ServiceRecord(name, "_ipp._tcp", 631, (), (("ty", value),))
    try:
        check(ServiceSet(name, (record,)))
    except PublishError:
        return
    group = ElementTree.fromstring(service_file(name, (record,)))
    item = group.find("service/txt-record")
    assert item is not None
    text = (item.text or "").removeprefix("ty=")
    kept = bytes.fromhex(text).decode() if item.get("value-format") else text
    assert kept == value
    assert group.findtext("name") == name


def test_the_template_of_the_administrators_folder_is_the_one_that_is_used() -> None:
    folder = Path(__file__).parents[2] / "avahi/services"
    assert (folder / "template.service").read_text() == TEMPLATE


async def test_a_template_of_ones_own_adds_what_stands_in_it(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text(TEMPLATE.replace("@SERVICES@", "@SERVICES@<service><!-- mine --></service>"))
    folder = tmp_path / "services"
    folder.mkdir()
    publisher = make_publisher("static", static_dir=folder, static_template=own)
    await publisher.start()
    await publisher.publish(make_services("Printer"))
    texts = [path.read_text() for path in folder.iterdir()]
    assert texts
    assert all("<!-- mine -->" in text for text in texts)
    await publisher.close()


@pytest.mark.parametrize("text", ["", "<a>@NAME@</a>", "<a>@NAME@ @SERVICES@", "\udcff"])
def test_a_template_that_cannot_become_a_service_file_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError):
        read_template(tmp_path / "own")


@pytest.mark.clients
async def test_what_a_real_avahi_reads_from_a_file_is_what_was_meant(desktop: Desktop) -> None:
    name = fresh_name('<Drücker> & "Co" \' %h')
    odd = (("ty", "a\x07bell, \u20ac & <tag>"), ("note", " spaces "), ("air", ""))
    publisher = StaticPublisher(desktop.services)
    await publisher.start()
    browse = Browse(desktop, "_ipp._tcp")
    try:
        record = ServiceRecord(name, "_ipp._tcp", 60000, (), odd)
        await publisher.publish(ServiceSet(name, (record,)))
        await until(lambda: name in browse.names, "found")
        (found,) = browse.found
        assert found.txt == {f"{key}={value}" for key, value in odd}
    finally:
        browse.stop()
        await publisher.close()
