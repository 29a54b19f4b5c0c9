"""Captured answers lose what identifies a device, and nothing of their encoding."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from support.captured import captured
from support.ipp_strategies import messages

from ippusbd.errors import BadXml
from ippusbd.wire import ipp
from ippusbd.wire.anonymous import Anonymizer
from ippusbd.wire.ipp import Group, Message, Tag

MODEL = "Example LaserJet 4711"
XML = b"""<?xml version="1.0"?><scan:ScannerCapabilities xmlns:scan="http://schemas.hp.com/x">
<pwg:MakeAndModel>Example LaserJet 4711</pwg:MakeAndModel>
<pwg:SerialNumber>CN83&amp;K1D0</pwg:SerialNumber>
<scan:UUID>1c852a4d-b800-1f08-abcd-f4a997cf9d6c</scan:UUID>
<scan:AdminURI>http://desk-nine.local:80/a</scan:AdminURI>
<scan:Note>made for PHB83K99</scan:Note>
</scan:ScannerCapabilities>"""


def answer(*attributes: ipp.Attribute) -> bytes:
    return ipp.encode(Message(0, 1, (Group(Tag.PRINTER, attributes),)))


def anonymous(name: str, *values: ipp.Value) -> tuple[str, ...]:
    """The texts of an attribute, after."""
    model = ipp.attribute("printer-make-and-model", ipp.text(MODEL))
    before = answer(model, ipp.attribute(name, *values))
    after, _ = Anonymizer().both(before, b"")
    assert len(after) == len(before)
    found = ipp.decode(after)[0].get(Tag.PRINTER, name)
    assert found is not None
    return found.texts


@pytest.mark.parametrize(
    ("name", "value", "after"),
    [
        ("printer-serial-number", ipp.text("CN83K1D0"), "XX00X0X0"),
        ("printer-location", ipp.text("Zimmer 3, Büro"), "Xxxxxx 0, Xxxxx"),
        ("printer-location", ipp.text_lang("de", "Zimmer 3"), "Xxxxxx 0"),
        ("printer-organization", ipp.text("Acme"), "Xxxx"),
        ("printer-dns-sd-name", ipp.name(f"{MODEL} [A1B2C3]"), f"{MODEL} [X0X0X0]"),
        ("printer-info", ipp.text(MODEL), MODEL),
        ("printer-name", ipp.name("Example_LaserJet_4711_Anna"), "Example_LaserJet_4711_Xxxx"),
        ("printer-geo-location", ipp.uri("geo:48.96,9.13"), "geo:00.00,0.00"),
        (
            "printer-uuid",
            ipp.uri("urn:uuid:1c852a4d-b800-1f08-abcd-f4a997cf9d6c"),
            "urn:uuid:00000000-0000-4000-8000-000000000000",
        ),
        (
            "printer-device-id",
            ipp.text("MFG:Example;MDL:LaserJet 4711;SN:CN83K1D0;CMD:PDF;"),
            "MFG:Example;MDL:LaserJet 4711;SN:XX00X0X0;CMD:PDF;",
        ),
        ("printer-uri-supported", ipp.uri("ipp://10.1.2.34:631/p"), "ipp://10.0.0.10:631/p"),
        ("printer-uri-supported", ipp.uri("ipp://[fe80::1a]/p"), "ipp://[0000::00]/p"),
        ("printer-uri-supported", ipp.uri("ipp://localhost/p"), "ipp://localhost/p"),
        ("printer-more-info", ipp.uri("http://HPF4A9.local/x"), "http://XXX0X0.local/x"),
        ("printer-alert", ipp.octets(b"mac=f4:a9:97:cf:9d:6c;"), None),
        ("sides-supported", ipp.keyword("two-sided-long-edge"), "two-sided-long-edge"),
    ],
)
def test_each_kind_of_value_is_overwritten_in_its_length(
    name: str, value: ipp.Value, after: str | None
):
    assert anonymous(name, value) == ((after,) if after else ())


def test_an_address_in_octets_is_overwritten():
    before = answer(ipp.attribute("printer-alert", ipp.octets(b"mac=f4:a9:97:cf:9d:6c;")))
    assert b"mac=00:00:00:00:00:00;" in Anonymizer().both(before, b"")[0]


def test_a_contact_in_a_collection_is_overwritten():
    inner = ipp.collection({"contact-name": ipp.name("Anna"), "contact-uri": ipp.uri("tel:12")})
    before = answer(ipp.attribute("printer-contact-col", inner))
    after = Anonymizer().both(before, b"")[0]
    assert b"Anna" not in after
    assert b"tel:00" in after
    assert len(after) == len(before)


def test_a_serial_number_is_found_again_in_other_values_and_in_the_other_answer():
    before = answer(
        ipp.attribute("printer-more-info", ipp.uri("http://localhost/?s=PHB83K99")),
        ipp.attribute("printer-serial-number", ipp.text("PHB83K99")),
    )
    ipp_after, xml_after = Anonymizer().both(before, XML)
    assert b"PHB83K99" not in ipp_after + xml_after


def test_xml_keeps_its_markup_its_namespaces_and_its_entities():
    after = Anonymizer().both(b"", XML)[1]
    assert len(after) == len(XML)
    assert b'xmlns:scan="http://schemas.hp.com/x"' in after
    assert b"<pwg:MakeAndModel>Example LaserJet 4711<" in after
    assert b"<pwg:SerialNumber>XX00&amp;X0X0<" in after
    assert b"<scan:UUID>00000000-0000-4000-8000-000000000000<" in after
    assert b"http://xxxx-xxxx.local:80/a" in after


def test_the_first_child_of_an_element_is_overwritten_too():
    after = Anonymizer().both(b"", b"<a>\n<SerialNumber>AB1</SerialNumber></a>")[1]
    assert after == b"<a>\n<SerialNumber>XX0</SerialNumber></a>"


def test_long_values_take_linear_time():
    start = time.monotonic()
    long = ipp.attribute("printer-alert", ipp.octets(b"a" * 0xFFFF))
    Anonymizer().both(answer(long), b"<x>" + b"a-" * 500_000 + b"</x>")
    assert time.monotonic() - start < 10, "over a minute with quadratic patterns"


def test_what_was_replaced_is_listed_once():
    anonymizer = Anonymizer()
    anonymizer.both(b"", XML)
    found = [(one.where, one.old, one.new) for one in anonymizer.replaced]
    assert ("SerialNumber", "CN83&amp;K1D0", "XX00&amp;X0X0") in found
    assert len(found) == len(set(found)) == 3


def test_an_answer_that_breaks_the_rules_stays_as_broken_as_it_was():
    before = captured("pantum-m7300fdw", "Get-Printer-Attributes.hex")
    after, _ = Anonymizer().both(before, b"")
    assert len(after) == len(before)
    changed = {at for at in range(len(before)) if before[at] != after[at]}
    names = [a.name for a in ipp.decode(after, tolerant=True)[0].group(Tag.PRINTER).attributes]
    theirs = ipp.decode(before, tolerant=True)[0].group(Tag.PRINTER).attributes
    assert names == [a.name for a in theirs]
    assert all(before[at] > 0x1F for at in changed), "a tag or a length was changed"


def test_xml_in_an_encoding_that_cannot_be_searched_is_refused():
    with pytest.raises(BadXml, match="ASCII"):
        Anonymizer().both(b"", XML.decode().encode("utf-16"))


@settings(max_examples=25)
@given(messages)
def test_no_message_changes_its_structure(message: Message):
    before = ipp.encode(message)
    after, _ = Anonymizer().both(before, b"")
    assert len(after) == len(before)
    names = [[a.name for a in g.attributes] for g in ipp.decode(after)[0].groups]
    assert names == [[a.name for a in g.attributes] for g in message.groups]
