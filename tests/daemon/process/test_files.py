"""How many files the daemon may have open."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from ippusbd.daemon.process.files import ENOUGH, allow_many_files


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised_to_the_hard_limit_or_to_what_is_enough():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    allow_many_files()
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (wanted, hard)


def test_a_sandbox_that_forbids_the_change_is_no_failure():
    def denied(_: int) -> tuple[int, int]:
        raise PermissionError(1, "Operation not permitted")

    allow_many_files(limits=denied)


def test_a_limit_that_is_high_enough_stays():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_many_files(enough=100)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
