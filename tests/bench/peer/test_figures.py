"""The verdicts of `make bench-peer` are correct only if the arithmetic is."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def figures() -> Iterator[ModuleType]:
    """The module by its path: the benchmark's folder is on no import path of the tests."""
    spec = importlib.util.spec_from_file_location(
        "bench_peer_figures", Path(__file__).with_name("figures.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def rows(what: str, key: str, **values: list[float]) -> list[dict[str, Any]]:
    return [
        {"round": number, "server": server.replace("_", "-"), "what": what, key: value}
        for server, measured in values.items()
        for number, value in enumerate(measured, 1)
    ]


def verdicts(figures: ModuleType, rows: list[dict[str, Any]], engine: str, title: str) -> dict:
    entries = figures.report(rows, "ippusbd", "ipp-usb", engine)
    (entry,) = [one for one in entries if one["title"] == title]
    return {one["target"]: one["met"] for one in entry["targets"]}


def test_throughput_is_compared_with_the_peer_and_the_bare_loop(figures: ModuleType) -> None:
    measured = rows("upload length", "mb_per_s", ippusbd=[20, 30, 26], ipp_usb=[10, 10, 10])
    measured += rows("bare", "up_mb_per_s", bare=[50, 50, 50])

    assert verdicts(figures, measured, "uml", "up, length") == {
        ">= 2.5 x peer": True,
        ">= 0.6 x bare": False,
    }


def test_latency_has_another_target_in_each_engine(figures: ModuleType) -> None:
    measured = rows("latency keep", "p50_ms", ippusbd=[5.0], ipp_usb=[10.0])
    measured += rows("bare", "p50_ms", bare=[4.0])
    title = "latency, keep-alive, p50"

    assert verdicts(figures, measured, "uml", title) == {
        "<= 0.4 x peer": False,
        "<= 1.6 x bare": True,
    }
    assert verdicts(figures, measured, "qemu", title) == {"<= 1.2 x peer": True}


def test_a_target_without_its_peer_is_never_called_met(figures: ModuleType) -> None:
    measured = rows("latency keep", "p99_ms", ippusbd=[1.0])

    assert verdicts(figures, measured, "qemu", "latency, keep-alive, p99") == {
        "<= 0.8 x peer": None
    }
    entries = figures.report(measured, "ippusbd", "ipp-usb", "qemu")
    assert "not measured" in "\n".join(figures.table(entries, "ippusbd", "ipp-usb"))


def test_one_cut_job_in_any_round_misses_the_target(figures: ModuleType) -> None:
    measured = rows("vanish", "cut_jobs", ippusbd=[0, 1, 0], ipp_usb=[3, 3, 3])

    assert verdicts(figures, measured, "qemu", "vanishing: cut jobs taken") == {"<= 0": False}


def test_memory_has_an_absolute_target(figures: ModuleType) -> None:
    measured = rows("rss idle", "rss_mb", ippusbd=[41, 43, 42], ipp_usb=[9, 9, 9])

    assert verdicts(figures, measured, "uml", "RSS idle") == {"<= 42": True}


def test_every_line_of_the_table_can_be_printed(figures: ModuleType) -> None:
    measured = []
    for line in figures.LINES:
        measured += rows(line.what, line.key, ippusbd=[1.5, 2.5], ipp_usb=[3.0, 123.4])
    entries = figures.report(measured, "ippusbd", "ipp-usb", "uml")

    printed = list(figures.table(entries, "ippusbd", "ipp-usb"))

    assert len(printed) == 1 + len(figures.LINES)
