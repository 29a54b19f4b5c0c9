"""The status page: its content, safety from a device's strings, and accessibility."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from support.page_status import HOSTILE, STATUS

from ippusbd.cli import status as cli_status
from ippusbd.daemon.observe import page
from ippusbd.daemon.observe.page_style import CSS, PAIRS, PALETTE
from ippusbd.daemon.observe.status import PageStatus, Status

VOID = {"meta", "br", "rect"}
TEXT_CONTRAST = 4.5  # WCAG 2.2, 1.4.3
SHAPE_CONTRAST = 3.0  # 1.4.11


class Page(HTMLParser):
    """What an accessibility check asks of a document, read by its tags alone."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []  # the innermost tag, and what it says
        self.inside: list[str] = []
        self.parents: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.inside, f"not closed: {self.inside}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.parents.append((self.inside[-1] if self.inside else "", tag))
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append((self.inside[-1], data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def said(self, tag: str) -> list[str]:
        return [text for inside, text in self.text if inside == tag]


def shown(status: Status) -> Page:
    return Page("".join(page.document(status)))


@pytest.fixture(params=["full", "empty", "starting"])
def document(request: pytest.FixtureRequest) -> Page:
    return shown(
        {"full": STATUS, "empty": Status(), "starting": Status(phase="starting")}[request.param]
    )


# --- what it says


def test_each_printer_is_shown_with_its_state_and_its_console():
    full = shown(STATUS)
    assert full.said("h2")[:2] == ["HP LaserJet in the corridor", HOSTILE.strip()]
    assert {a["href"] for a in full.all("a")} >= {"http://localhost:60000/"}
    assert "ready" in full.said("span")
    assert "Action needed: paper out" in full.said("strong")
    assert "load paper" in full.said("p")


def test_waits_and_ended_exchanges_are_shown_with_their_proof():
    said = shown(STATUS).said("p")
    assert any(re.match(r"paper out since \d\d:\d\d: a print of 3.1 MB waits", t) for t in said)
    assert any(text.startswith("not ended, because: the printer reports") for text in said)
    assert any(
        text.startswith(f"a print of 3.1 MB for {HOSTILE}") for text in shown(STATUS).said("li")
    )
    assert any(text.startswith("ended on interface 1: no byte for 300 s") for text in said)


def test_levels_are_shown_as_words_beside_their_bars():
    words = shown(STATUS).said("span")
    assert {"8 %, low", "65 %", "92 % full", "not known"} <= set(words)


def test_recent_errors_have_remedies():
    said = " ".join(shown(STATUS).said("li"))
    assert "answered 404 Not Found (12 times)" in said
    assert "maker's driver" in said


def test_the_title_says_whether_action_is_needed():
    assert shown(STATUS).said("title") == ["1 of 4 printers need attention - ippusbd"]
    assert shown(Status()).said("title") == ["0 printers - ippusbd"]


def test_a_device_cannot_inject_html():
    full = shown(STATUS)
    assert not full.all("script")
    assert not full.all("img")
    assert all(not name.startswith("on") for _, attrs in full.tags for name in attrs)
    assert all((a["href"] or "").startswith(("http://localhost:", "/", "#")) for a in full.all("a"))


def test_the_page_needs_no_script_and_no_other_resource():
    assert "<script" not in "".join(page.document(STATUS))
    assert "url(" not in CSS
    assert page.POLICY.startswith("default-src 'none'; style-src 'sha256-")


def test_the_command_shows_the_same_as_the_page():
    told = list(cli_status.lines(replace(STATUS, page=PageStatus(url="http://localhost:8631/"))))
    at = told.index("recent errors:")
    assert told[at + 1].endswith(
        "Canon iR2625: print: /ipp/print answered 404 Not Found (12 times)"
    )
    assert told[at + 2].strip() == "look for an update; else use the maker's driver"
    assert told[-1] == "status page: http://localhost:8631/"
    assert "  NEEDS YOU   paper out: load paper" in told


# --- that everybody can read it


def test_the_page_has_language_title_and_landmarks(document: Page):
    assert document.all("html") == [{"lang": "en"}]
    assert document.said("title")
    assert [len(document.all(tag)) for tag in ("header", "main", "footer")] == [1, 1, 1]
    assert any("width=device-width" in (m.get("content") or "") for m in document.all("meta"))
    assert not any("user-scalable" in (m.get("content") or "") for m in document.all("meta"))


def test_headings_begin_with_one_and_skip_no_level(document: Page):
    levels = [int(tag[1]) for tag, _ in document.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_ids_are_unique_and_every_label_points_at_one(document: Page):
    ids = [attrs["id"] for _, attrs in document.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labels = [attrs["aria-labelledby"] for _, attrs in document.tags if "aria-labelledby" in attrs]
    assert set(labels) <= set(ids)
    jumps = [a["href"] for a in document.all("a") if (a["href"] or "").startswith("#")]
    assert {str(jump)[1:] for jump in jumps} <= set(ids)


def test_links_say_where_they_go_and_pictures_are_beside_words(document: Page):
    assert len(document.said("a")) == len(document.all("a"))
    assert all(tag != "svg" or parent == "span" for parent, tag in document.parents)
    bars = [attrs for attrs in document.all("span") if "bar" in (attrs.get("class") or "")]
    assert all(bar.get("aria-hidden") == "true" for bar in bars)


def test_lists_hold_only_their_items(document: Page):
    for parent, tag in document.parents:
        assert parent != "ul" or tag == "li"
        assert parent != "dl" or tag in ("dt", "dd")


@pytest.mark.parametrize(("ink", "ground"), PAIRS)
@pytest.mark.parametrize("scheme", [0, 1])
def test_text_stands_out_from_its_ground(ink: str, ground: str, scheme: int):
    assert contrast(PALETTE[ink][scheme], PALETTE[ground][scheme]) >= TEXT_CONTRAST


@pytest.mark.parametrize("scheme", [0, 1])
def test_bars_stand_out_from_their_card(scheme: int):
    for colour in ("faint", "bad"):
        assert contrast(PALETTE[colour][scheme], PALETTE["card"][scheme]) >= SHAPE_CONTRAST


def test_no_colour_is_used_that_was_not_measured():
    outside = re.sub(r"--[a-z-]+:#[0-9a-f]{6};", "", CSS)
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgba?\(|hsla?\(", outside)
    grounds = re.findall(r"\{background:var\(--([a-z-]+)\);color:var\(--([a-z-]+)\)", CSS)
    assert {(ink, ground) for ground, ink in grounds} <= set(PAIRS)


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
