"""Firmware is the attacker: any input gives a clean value or our error.

The seeds of the fuzzer and all its findings, and hypothesis's variations of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import corpus
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

CASES = [(target, path) for target in TARGETS for path in corpus.kept(target)]
SEEDS = {target: [corpus.read(path) for path in corpus.kept(target)] for target in TARGETS}


@st.composite
def mutants(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A seed with some of its bytes replaced, repeated, inserted or left out."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        end = draw(st.integers(at, min(len(data), at + 12)))
        inserted = draw(st.one_of(st.binary(max_size=6), st.just(data[at:end] * 3)))
        data = data[:at] + inserted + data[end:]
    return data


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("target", "path"), CASES, ids=[f"{path.parent.name}-{path.stem}" for _, path in CASES]
)
def test_kept_inputs_cause_no_fault(target: str, path: Path):
    TARGETS[target](corpus.read(path))


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=120)
@given(data=st.data())
def test_any_input_gives_a_value_or_our_error(target: str, data: st.DataObject):
    TARGETS[target](data.draw(st.one_of(mutants(SEEDS[target]), st.binary(max_size=300))))


@given(st.binary(max_size=300))
def test_an_input_kept_as_text_is_read_back(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = tmp_path_factory.getbasetemp() / "kept.txt"
    corpus.write(path, data, "a remark")

    assert corpus.read(path) == data
    assert path.read_text().isascii()
