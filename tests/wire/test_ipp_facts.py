"""Facts are what a printer said and could be understood; the rest is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captured import captured
from support.ipp_strategies import answer, item_streams, values

from ippusbd.errors import BadIpp
from ippusbd.model import PrinterFacts
from ippusbd.wire import ipp, ipp_facts
from ippusbd.wire.ipp import Group, Message, Tag

UUID = "00112233-4455-6677-8899-aabbccddeeff"


def read(model: str) -> Message:
    data = captured(model, "Get-Printer-Attributes.hex")
    return ipp.decode(data, tolerant=True)[0]


def only(name: str, *given: ipp.Value) -> PrinterFacts:
    return ipp_facts.facts(answer(ipp.attribute(name, *given)))


# --- whole answers


def test_a_complete_answer_becomes_facts():
    size = ipp.collection({"x-dimension": ipp.integer(21000), "y-dimension": ipp.integer(29700)})
    told = answer(
        ipp.attribute("printer-dns-sd-name", ipp.name("Office")),
        ipp.attribute("printer-make-and-model", ipp.text("Example 4711")),
        ipp.attribute("printer-info", ipp.text("the big one")),
        ipp.attribute("printer-location", ipp.text("Second floor")),
        ipp.attribute("printer-uuid", ipp.uri(f"urn:uuid:{UUID.upper()}")),
        ipp.attribute(
            "document-format-supported", ipp.mime("application/pdf"), ipp.mime("image/urf")
        ),
        ipp.attribute("urf-supported", ipp.keyword("V1.4"), ipp.keyword("W8")),
        ipp.attribute("color-supported", ipp.boolean(True)),
        ipp.attribute(
            "sides-supported", ipp.keyword("one-sided"), ipp.keyword("two-sided-long-edge")
        ),
        ipp.attribute("printer-kind", ipp.keyword("document"), ipp.keyword("photo")),
        ipp.attribute("media-size-supported", size),
        ipp.attribute("printer-more-info", ipp.uri("http://192.0.2.7/")),
        ipp.attribute("printer-icons", ipp.uri("http://192.0.2.7/1.png"), ipp.uri("http://h/2")),
        ipp.attribute("mopria-certified", ipp.text("1.3")),
        ipp.attribute("printer-device-id", ipp.text("MFG:Example;")),
    )
    assert ipp_facts.facts(told) == PrinterFacts(
        dns_sd_name="Office",
        make_and_model="Example 4711",
        info="the big one",
        location="Second floor",
        uuid=UUID,
        pdl=("application/pdf", "image/urf"),
        urf=("V1.4", "W8"),
        color=True,
        duplex=True,
        kind=("document", "photo"),
        paper_max="legal-A4",
        more_info="http://192.0.2.7/",
        icon="http://192.0.2.7/1.png",
        mopria="1.3",
        device_id="MFG:Example;",
    )


@pytest.mark.parametrize(
    ("said", "version"),
    [("1.3", "1.3"), ("mopria-certified 1.2", "1.2"), ("Mopria 2", "2"), ("certified", "")],
)
def test_mopria_is_a_version(said: str, version: str):
    assert only("mopria-certified", ipp.text(said)).mopria == version


def test_of_translations_it_is_the_english_one():
    german, english = ipp.text_lang("de", "Drucker X"), ipp.text_lang("en-US", "Printer X")
    assert only("printer-make-and-model", german, english).make_and_model == "Printer X"
    assert only("printer-make-and-model", german).make_and_model == "Drucker X"
    french = ipp.text_lang("fr", "Imprimante X")
    assert only("printer-info", german, french).info == "Drucker X"
    assert only("printer-info", ipp.text("X"), german, ipp.text_lang("EN", "Y")).info == "Y"


def media(width: ipp.Value, length: ipp.Value) -> ipp.Value:
    return ipp.collection({"x-dimension": width, "y-dimension": length})


@pytest.mark.parametrize(
    ("widest", "longest", "paper"),
    [
        (215_900, 355_600, "legal-A4"),  # ten times too much (Canon MF6100)
        (29_700, 43_180, "tabloid-A3"),  # larger than what is in the list
        (21_590, 120_000, "legal-A4"),  # banners
    ],
)
def test_a_custom_range_is_believed_up_to_twice_the_largest_size(widest, longest, paper):
    legal = media(ipp.integer(21_590), ipp.integer(35_560))
    custom = media(ipp.range_(10_000, widest), ipp.range_(10_000, longest))
    assert only("media-size-supported", legal, custom).paper_max == paper
    names = (
        "na_legal_8.5x14in",
        "custom_min_100x100mm",
        f"custom_max_{widest / 100:g}x{longest / 100:g}mm",
    )
    assert only("media-supported", *map(ipp.keyword, names)).paper_max == paper


def test_a_custom_range_alone_is_believed():
    custom = media(ipp.range_(10_000, 29_700), ipp.range_(10_000, 42_000))
    assert only("media-size-supported", custom).paper_max == "tabloid-A3"


def test_the_model_printer_of_cups_is_read_to_the_last_byte():
    data = captured("cups-ippeveprinter-2.4.2", "Get-Printer-Attributes.ipp")

    told, end = ipp.decode(data)

    assert end == len(data)
    assert ipp.encode(told) == ipp.sanitize(data) == data
    database = told.get(Tag.PRINTER, "media-col-database")
    assert database is not None
    assert len(database.values) > 10
    assert all(isinstance(media, dict) and media["media-size"] for media in database.plain)
    facts = ipp_facts.facts(told)
    assert (facts.make_and_model, facts.location) == ("Example Captured 1", "Second floor")
    assert facts.pdl[1:3] == ("application/pdf", "image/jpeg")
    assert facts.urf[-1] == "DM3"
    assert (facts.color, facts.duplex, facts.paper_max) == (True, True, "legal-A4")


def test_everything_that_facts_reads_is_asked_for():
    request, _ = ipp.decode(ipp_facts.question("ipp://localhost:60000/ipp/print", 5))
    asked = request.get(Tag.OPERATION, "requested-attributes")
    assert request.request_id == 5
    assert asked is not None
    assert asked.texts == ipp_facts.REQUESTED
    # ... and nothing else is: each name, given any value that fits, changes the facts.
    fits = (ipp.text(f"{UUID} iso_a4_210x297mm"), ipp.boolean(True), ipp.enum(3), ipp.uri(UUID))
    size = ipp.collection({"x-dimension": ipp.integer(1), "y-dimension": ipp.integer(1)})
    fits += (ipp.keyword("one-sided"), size)
    nothing = only("unheard-of", ipp.integer(1))
    for name in asked.texts:
        assert any(only(name, value) != nothing for value in fits), name


def test_printer_attributes_may_come_in_several_groups():
    first = Group(Tag.PRINTER, (ipp.attribute("printer-info", ipp.text("a")),))
    second = Group(Tag.PRINTER, (ipp.attribute("printer-location", ipp.text("b")),))
    facts = ipp_facts.facts(Message(0, 1, (first, Group(Tag.UNSUPPORTED), second)))
    assert (facts.info, facts.location) == ("a", "b")


def test_an_answer_without_printer_attributes_has_no_facts():
    with pytest.raises(BadIpp, match="status 0x0503"):
        ipp_facts.facts(Message(0x0503, 1, (Group(Tag.OPERATION), Group(Tag.PRINTER))))


# --- printers that misbehave


def test_pantum_m7300fdw_is_understood_and_can_be_repaired_for_clients():
    broken = captured("pantum-m7300fdw", "Get-Printer-Attributes.hex")
    with pytest.raises(BadIpp):
        ipp.decode(broken)

    repaired, _ = ipp.decode(ipp.sanitize(broken))

    assert ipp_facts.facts(repaired) == ipp_facts.facts(read("pantum-m7300fdw"))
    assert ipp_facts.facts(repaired).paper_max == "legal-A4"
    sizes = repaired.get(Tag.PRINTER, "media-size-supported")
    assert sizes is not None
    assert sizes.plain == (
        {"x-dimension": (21000,), "y-dimension": (29700,)},
        {"x-dimension": (21590,), "y-dimension": (35560,)},
    )


def test_canon_selphy_cp1500_says_error_and_gives_good_data():
    told = read("canon-selphy-cp1500")
    facts = ipp_facts.facts(told)
    assert not told.ok
    assert facts.pdl == ("image/urf", "image/jpeg")
    assert (facts.color, facts.duplex, facts.paper_max) == (True, False, "<legal-A4")


def test_brother_mfc_l8390cdw_says_its_texts_in_a_language():
    facts = ipp_facts.facts(read("brother-mfc-l8390cdw"))
    assert facts.make_and_model == "Brother MFC-L8390CDW series"
    assert facts.location == "Second floor"
    assert facts.urf == ("SRGB24", "W8", "CP1")  # from its device id
    assert facts.paper_max == "legal-A4"  # from its media names


# --- single attributes


@pytest.mark.parametrize(
    ("uuid", "kept"),
    [
        (f"urn:uuid:{UUID}", UUID),
        (f"{{{UUID.upper()}}}", UUID),
        (UUID.replace("-", ""), UUID),
        ("urn:uuid:00000000-0000-0000-0000-000000000000", ""),
        ("urn:uuid:", ""),
        ("4711", ""),
    ],
)
def test_only_a_uuid_that_tells_devices_apart_is_kept(uuid, kept):
    assert only("printer-uuid", ipp.uri(uuid)).uuid == kept


def test_texts_leave_clean():
    nasty = "\x1b[31mBig\x00 Printer\r\n\u202e2"
    facts = only("printer-info", ipp.text(nasty))
    assert facts.info == "Big Printer 2"
    assert len(only("printer-info", ipp.text("\N{SNOWMAN}" * 9999)).info.encode()) <= 1023


@pytest.mark.parametrize(
    ("sides", "duplex"),
    [
        (("one-sided",), False),
        (("one-sided", "two-sided-short-edge"), True),
        (("unheard-of",), None),
    ],
)
def test_duplex_is_told_by_the_sides(sides, duplex):
    assert only("sides-supported", *map(ipp.keyword, sides)).duplex is duplex


def test_what_has_a_wrong_type_is_left_out():
    told = [
        ipp.attribute(name, ipp.octets(b"\x00"), ipp.no_value()) for name in ipp_facts.REQUESTED
    ]
    assert ipp_facts.facts(answer(*told)) == PrinterFacts()


def test_ranges_of_media_sizes_count_by_their_upper_ends():
    custom = ipp.collection(
        {"x-dimension": ipp.range_(7600, 29700), "y-dimension": ipp.range_(12700, 43180)}
    )
    without = ipp.collection({"x-dimension": ipp.integer(99999)})
    assert only("media-size-supported", without, custom).paper_max == "tabloid-A3"


def test_lists_are_bounded_and_hold_nothing_twice():
    assert only("printer-kind", ipp.keyword("a"), ipp.keyword("a")).kind == ("a",)
    many = [ipp.keyword(f"k{n}") for n in range(9999)]
    assert len(only("printer-kind", *many).kind) == ipp_facts.LIST_MAX


# --- for all


def strings(facts: PrinterFacts) -> list[str]:
    slots = [getattr(facts, name) for name in PrinterFacts.__slots__]
    flat = [part for slot in slots if isinstance(slot, tuple) for part in slot]
    return [slot for slot in [*slots, *flat] if isinstance(slot, str)]


@given(
    st.dictionaries(
        st.sampled_from(ipp_facts.REQUESTED), st.lists(values, min_size=1, max_size=2), max_size=4
    )
)
def test_any_values_give_clean_facts(told):
    facts = ipp_facts.facts(
        answer(ipp.attribute("x", ipp.no_value()), *(ipp.attribute(n, *v) for n, v in told.items()))
    )
    assert all(text.isprintable() and len(text.encode()) <= 1023 for text in strings(facts))
    assert facts.color in (None, True, False)


@given(item_streams())
def test_any_items_give_facts_or_our_error(data):
    try:
        message, _ = ipp.decode(data, tolerant=True)
        facts = ipp_facts.facts(message)
    except BadIpp:
        return
    assert all(text.isprintable() for text in strings(facts))
