"""A redirect that a client cannot follow is answered in words; all others lead to us."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.http_client import ask
from support.scripted_printer import answer, serve

from ippusbd.errors import PrinterError
from ippusbd.proxy.redirects import FRESH_S, STEP_BYTES, STEPS_MAX, Question, Redirects
from ippusbd.wire.http1_response import BodyFraming, Head

HTTPS, CIRCLE = "insists on HTTPS", "in a circle"


def redirect(location: str, status: str = "301 Moved", cookie: str = "") -> bytes:
    fields = [("Location", location), *([("Set-Cookie", cookie)] if cookie else [])]
    return answer(status=status, headers=fields)


# --- to the request that was asked


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (redirect("https://127.0.0.1/hp?a=1"), HTTPS),
        (redirect("HTTPS://npi12.local:443/hp?a=1#top", "307 Moved", "a=b"), HTTPS),
        (redirect("http://192.168.1.7/hp?a=1", "302 Found"), "redirects to http://192.168.1.7"),
        (redirect("http://[fe80::1/hp?a=1", "302 Found"), "redirects to http://[fe80::1"),
        (answer(status="426 Upgrade Required"), HTTPS),
        (answer(b"wait", headers=[("Refresh", "0; URL='https://npi12.local/hp?a=1'")]), HTTPS),
    ],
)
async def test_a_redirect_that_usb_cannot_follow_is_answered_in_words(said: bytes, words: str):
    async with serve(said, host="localhost") as site:
        reply = await ask(site.port, "GET", "/hp?a=1")
        assert (reply.status, "location" in reply.headers) == (502, False)
        assert words in reply.body.decode()
        assert words in str(site.site.trouble)


@pytest.mark.parametrize("location", ["http://localhost/hp", "//LOCALHOST/hp#top", "/hp", "#top"])
@pytest.mark.parametrize("status", ["302 Found", "308 Permanent Redirect"])
async def test_a_redirect_to_the_same_page_is_answered_in_words(location: str, status: str):
    async with serve(redirect(location, status), host="localhost") as site:
        reply = await ask(site.port, "GET", "/hp")
        assert (reply.status, "location" in reply.headers) == (502, False)
        assert f"redirects /hp {CIRCLE}" in reply.body.decode()
        assert not site.site.trouble  # one page, and no function of the printer


@pytest.mark.parametrize("location", ["http://localhost/hp", "http://192.168.1.7/hp", "/hp"])
async def test_a_redirect_to_the_same_page_with_a_new_cookie_is_followed(location: str):
    said = redirect(location, "302 Found", "sid=1; Domain=npi12.local; Path=/")
    async with serve(said, said, host="localhost") as site:
        first = await ask(site.port, "GET", "/hp")
        assert first.headers["location"] in ("http://127.0.0.1/hp", "/hp")
        assert first.headers["set-cookie"] == "sid=1; Path=/"
        again = await ask(site.port, "GET", "/hp", headers=[("Cookie", "x=2; sid=1")])
        assert again.status == 502


@pytest.mark.parametrize(
    ("method", "location", "status"),
    [
        ("GET", "https://printer.local/other", "301 Moved"),  # tried, then answered in words
        ("POST", "http://localhost/hp", "303 See Other"),
        ("POST", "/hp", "302 Found"),
    ],
)
async def test_other_redirects_are_followed_by_the_client(method: str, location: str, status: str):
    async with serve(redirect(location, status), host="localhost") as site:
        assert (await ask(site.port, method, "/hp")).status == int(status[:3])
        assert not site.site.trouble


async def test_what_the_printer_keeps_from_clients_is_forgotten_when_it_is_unplugged():
    async with serve(answer(status="426 Upgrade Required")) as site:
        await ask(site.port)
        site.site.disconnect("unplugged")
        assert not site.site.trouble


# --- in a circle


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("/b", "/a", CIRCLE),
        ("http://10.0.0.7/b", "http://localhost/a?", CIRCLE),
        ("https://npi12.local/b", "http://npi12.local/a", HTTPS),
        ("b", "https://npi12.local/a", HTTPS),
    ],
)
async def test_a_circle_of_redirects_ends_when_it_was_gone_round_once(first, second, words: str):
    said = [redirect(first, "302 Found"), redirect(second, "302 Found")]
    async with serve(*said * 2, host="localhost") as site:
        followed = [(await ask(site.port, "GET", page)).status for page in ("/a", "/b")]
        assert followed == [302, 302]
        reply = await ask(site.port, "GET", "/a")
        assert reply.status == 502
        assert words in reply.body.decode()


class Console:
    """The redirects of a printer, and the clock of those who follow them."""

    def __init__(self) -> None:
        self.redirects, self.now_s = Redirects(lambda: self.now_s), 0.0

    def get(self, page: str, location: str, cookie: str = "", sets: str = "") -> str:
        """Ask for a page; the words instead of its answer, empty: the client gets that."""
        fields = [("Location", location)] if location else []
        fields += [("Set-Cookie", sets)] if sets else []
        status = 302 if location else 200
        head = Head(status, "", (1, 1), tuple(fields), BodyFraming.NONE, None)
        question = Question("GET", page, "localhost", cookie)
        try:
            self.redirects.check(question, head)
        except PrinterError as exc:
            return str(exc)
        return ""


def test_a_console_that_logs_in_by_cookies_goes_round_once():
    console = Console()
    assert not console.get("/", "/login")
    assert not console.get("/login", "/", sets="sid=1; HttpOnly")
    assert not console.get("/", "", cookie="sid=1")
    assert not console.get("/", "/login")
    assert not console.get("/login", "/", sets="sid=1")


def test_a_cookie_that_changes_nothing_ends_the_circle():
    console = Console()
    assert not console.get("/", "/login")
    assert not console.get("/login", "/", sets="sid=1")
    assert not console.get("/", "/login", "sid=1", sets="sid=1")
    assert not console.get("/login", "/", "sid=1", sets="sid=1")
    assert CIRCLE in console.get("/", "/login", "sid=1", sets="sid=1")


def test_a_page_that_is_answered_in_the_meantime_is_in_no_circle():
    console = Console()
    for _ in range(3):
        assert not console.get("/", "/wait")
        assert not console.get("/wait", "/")
        assert not console.get("/", "")


def test_circles_are_of_one_moment():
    console = Console()
    for _ in range(3):
        assert not console.get("/", "/wait")
        console.now_s += FRESH_S / 2 + 1
        assert not console.get("/wait", "/")
        console.now_s += FRESH_S / 2 + 1


def test_a_long_circle_is_found():
    console = Console()
    pages = [f"/{number}" for number in range(20)]
    for page, location in pairwise([*pages, pages[0]]):
        assert not console.get(page, location)
    assert CIRCLE in console.get(pages[0], pages[1])


def test_what_is_remembered_is_bounded():
    console = Console()
    console.get("/a", "/b")
    console.get("/b", "/a")
    for number in range(STEPS_MAX - 1):
        console.get(f"/{number}", "/elsewhere")
    assert not console.get("/a", "/b")
    large = "/" + "x" * STEP_BYTES
    assert not any(console.get(*step) for step in ((large, "/b"), ("/b", large), (large, "/b")))


LOCATIONS = st.text(st.sampled_from("htps:/[]?#@.a\\ \x80")) | st.sampled_from(
    ["http://[x/a", "//[", "https://a:b:c/", "ipp://", "?", "//", "/a", "javascript:x", "mailto:a"]
)


@given(st.lists(st.tuples(st.sampled_from(["/a", "//x", "/a?", "*"]), LOCATIONS), max_size=20))
def test_any_redirect_is_followed_or_refused_in_words(steps: list[tuple[str, str]]):
    console = Console()
    for page, location in steps:
        words = console.get(page, location)
        assert not words or any(one in words for one in (HTTPS, CIRCLE, "redirects to"))


# --- other fields


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("5; url=http://npi12.local/status", "5; url=http://HERE/status"),
        ('0;URL="https://10.0.0.7/other?a=1"', '0;URL="http://HERE/other?a=1"'),
        ("3,//npi12.local", "3,http://HERE/"),
        ("0; https://npi12.local/x", "0; http://HERE/x"),
        ("5; url=/status", "5; url=/status"),
        ("5", "5"),
        ("soon; url", "soon; url"),
    ],
)
async def test_a_page_that_reloads_another_one_leads_to_us(said: str, read: str):
    async with serve(answer(b"wait", headers=[("Refresh", said)])) as site:
        reply = await ask(site.port, "GET", "/page", headers=[("Host", "localhost:1234")])
        assert reply.headers["refresh"] == read.replace("HERE", "localhost:1234")


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("a=b; Domain=npi12.local; Path=/", "a=b; Path=/"),
        ("a=b;domain = .10.0.0.7", "a=b"),
        ("a=domain=x; HttpOnly", "a=domain=x; HttpOnly"),
    ],
)
async def test_a_cookie_is_for_the_host_that_was_asked(said: str, read: str):
    async with serve(answer(headers=[("Set-Cookie", said)])) as site:
        assert (await ask(site.port)).headers["set-cookie"] == read
