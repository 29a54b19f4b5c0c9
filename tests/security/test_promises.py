"""The table of promises cannot rot: each is shown by tests that exist and miss their guard.

Taking all guards out takes minutes: `make promises`. Here each is looked for in the code.
"""

from __future__ import annotations

import ast
from pathlib import Path

from security.promises import PROJECT, guards, promises

NAMED = sorted({f"{path}::{name}" for row in promises() for path, name in row.tests})


def functions(path: Path) -> set[str]:
    """The names of all tests in a file."""
    found = ast.walk(ast.parse(path.read_text()))
    return {each.name for each in found if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_promise_names_its_tests_and_all_that_it_names_is_there():
    rows = promises()
    assert len(rows) > 40
    assert [row.text for row in rows if not row.tests] == []
    assert [file for row in rows for file in row.files if not (PROJECT / file).exists()] == []
    named = [test.split("::") for test in NAMED]
    assert [name for path, name in named if name not in functions(PROJECT / path)] == []


def test_every_test_of_a_promise_has_a_guard_that_it_misses():
    assert sorted(guard.test for guard in guards()) == NAMED


def test_every_guard_is_in_the_code_once_and_without_it_the_code_is_python():
    texts = {guard.file: (PROJECT / guard.file).read_text() for guard in guards()}
    assert [each.guard for each in guards() if texts[each.file].count(each.guard) != 1] == []
    for guard in guards():
        assert ast.parse(guard.taken_out_of(texts[guard.file])).body
