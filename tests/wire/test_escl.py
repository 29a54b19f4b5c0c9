"""A scanner's capabilities, whichever way firmware writes them down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.captured import captured

from ippusbd.errors import BadXml
from ippusbd.model import ScannerFacts
from ippusbd.wire import escl


def capabilities(*inside: str) -> ScannerFacts:
    body = "".join(inside)
    return escl.capabilities(f"<ScannerCapabilities>{body}</ScannerCapabilities>".encode())


def test_a_whole_document_becomes_facts():
    assert escl.capabilities(captured("duplex-by-option", "ScannerCapabilities.xml")) == (
        ScannerFacts(
            version="2.63",
            make_and_model="Example MFP 4711",
            serial="EX0004711",
            uuid="00112233-4455-6677-8899-aabbccddeeff",
            admin_uri="http://192.0.2.7:80/#scan",
            icon_uri="http://192.0.2.7:80/icons/scanner.png",
            pdl=("image/jpeg", "application/pdf", "image/png"),
            color_spaces=("color", "grayscale", "binary"),
            sources=("platen", "adf"),
            duplex=True,
        )
    )


@pytest.mark.parametrize(
    ("elements", "sources"),
    [
        ("<Platen/>", ("platen",)),
        ("<Adf/>", ("adf",)),
        ("<Camera/><Adf/><Platen/>", ("platen", "adf", "camera")),
    ],
)
def test_sources_are_told_by_their_elements(elements, sources):
    assert capabilities(elements).sources == sources


@pytest.mark.parametrize(
    ("adf", "duplex"),
    [
        ("<AdfDuplexInputCaps/>", True),
        ("<AdfOptions><AdfOption> Duplex </AdfOption></AdfOptions>", True),
        ("<AdfOptions><AdfOption/><AdfOption>DetectPaperLoaded</AdfOption></AdfOptions>", False),
        ("<AdfSimplexInputCaps/>", False),
    ],
)
def test_duplex_is_told_by_capabilities_or_by_the_option(adf, duplex):
    assert capabilities(f"<Adf>{adf}</Adf>").duplex is duplex


@pytest.mark.parametrize(
    ("mode", "spaces"),
    [
        ("RGB24", ("color",)),
        ("RGB48", ("color",)),
        ("Grayscale16", ("grayscale",)),
        ("BlackAndWhite1", ("binary",)),
        ("AutoColorDetection", ()),
        ("", ()),
    ],
)
def test_color_modes_become_color_spaces(mode, spaces):
    platen = f"<Platen><ColorModes><ColorMode>{mode}</ColorMode></ColorModes></Platen>"
    assert capabilities(platen).color_spaces == spaces


def test_texts_leave_clean():
    facts = capabilities("<Platen/>", "<MakeAndModel>\n A \u202e B\u0085\n</MakeAndModel>")
    assert facts.make_and_model == "A B"


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (b"<html/>", "expected, not 'html'"),
        (b"<ScannerStatus/>", "ScannerCapabilities expected"),
        (b"<ScannerCapabilities/>", "without a source"),
        (b"<ScannerCapabilities", "not well-formed"),
    ],
)
def test_another_document_is_refused(document, fault):
    with pytest.raises(BadXml, match=fault):
        escl.capabilities(document)


TAGS = st.sampled_from(
    ["Platen", "Adf", "ColorMode", "DocumentFormat", "UUID", "IconURI", "AdfOptions", "AdfOption"]
)


def _element(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda tag, inner: f"<{tag}>{''.join(inner)}</{tag}>", TAGS, st.lists(children)
    )


@given(
    st.lists(st.recursive(st.text(st.characters(codec="utf-8", exclude_characters="<&")), _element))
)
def test_any_document_gives_clean_facts_or_our_error(inside):
    try:
        facts = capabilities(*inside)
    except BadXml:
        return
    strings = [facts.uuid, facts.icon_uri, *facts.pdl]
    assert all(text.isprintable() and len(text.encode()) <= 1023 for text in strings)
