"""Repeated buffers cost no page faults, many files may be open, OpenSSL can be left out."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ippusbd.daemon.process.tuning import MAX_FILES, allow_many_files

FAULTS = """
import resource, sys
from ippusbd.daemon.process.tuning import keep_buffers
if sys.argv[1] == "keep":
    assert keep_buffers()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for n in range(400):
    if n == 100:
        before = faults()
    blocks = [bytes(262_144) for _ in range(4)]  # a piece of a document on its way, copied
    del blocks
print(faults() - before)
"""


def faults(how: str) -> int:
    out = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, check=True)
    return int(out.stdout)


def test_kept_buffers_are_not_faulted_in_again():
    assert faults("keep") < faults("plain") / 5


HOLES = """
from pathlib import Path
from ippusbd.daemon.process.tuning import give_back
def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])
blocks = [bytes(50_000) for _ in range(1000)]
before = pages()
blocks = blocks[::10]
give_back()
print(before - pages())
"""


def test_holes_in_the_heap_are_given_back():
    out = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, check=True)
    assert int(out.stdout) * resource.getpagesize() > 30_000_000


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_to_the_hard_limit(limits: tuple[int, int]):
    hard = limits[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    allow_many_files()
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)


def test_a_limit_of_files_that_is_high_enough_stays(limits: tuple[int, int]):
    allow_many_files(100)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == limits


def said(code: str) -> str:
    code = f"import sys; from ippusbd.daemon.process import tuning; {code}"
    return subprocess.check_output([sys.executable, "-c", code], text=True).strip()


def test_what_a_daemon_without_sharing_is_made_of_works_without_openssl():
    code = (
        "left_out = tuning.leave_out_openssl();"
        "import aiohttp.web, dbus_fast.aio, hashlib, hmac, pyudev, random, uuid, zeroconf.asyncio;"
        "import ippusbd.daemon.service, ippusbd.dnssd.auto_publisher;"
        "maps = open('/proc/self/maps').read();"
        "print(left_out, 'libssl' in maps, 'libcrypto' in maps, hashlib.sha256().hexdigest()[:6])"
    )
    assert said(code) == "True False False e3b0c4"


@pytest.mark.parametrize(
    "hindered",
    ["import ssl", "import hashlib", "tuning.find_spec = lambda name: None"],
)
def test_openssl_stays_where_it_is_loaded_or_python_has_no_hashes_of_its_own(hindered: str):
    code = "import ssl, hashlib; print(ssl.OPENSSL_VERSION[:7], hashlib.scrypt.__name__)"
    assert said(f"{hindered}; print(tuning.leave_out_openssl()); {code}") == "False\nOpenSSL scrypt"
