"""The soak's ledger finds every kind of loss, and none where nothing was lost."""

from __future__ import annotations

import hashlib

import pytest
from soak.ledger import Fate, Kept, Ledger


def kept(document: bytes, printer: str = "A", *, completed: bool = True) -> Kept:
    return Kept(printer, hashlib.sha256(document).hexdigest(), len(document), completed)


def faults(fate: Fate, *at_printer: Kept) -> list[str]:
    ledger = Ledger()
    ledger.sending("A", b"document").fate = fate
    return ledger.judge(at_printer)


def test_an_accepted_document_is_at_the_printer():
    assert faults(Fate.ACCEPTED, kept(b"document")) == []


@pytest.mark.parametrize(
    "at_printer",
    [
        (),
        (kept(b"document", completed=False),),
        (kept(b"document", "B"),),
        (kept(b"documen"),),
        (kept(b"document"), kept(b"document")),
    ],
    ids=["lost", "cancelled by nobody", "at another printer", "cut", "printed twice"],
)
def test_an_accepted_document_that_is_missing_or_there_twice_is_a_fault(
    at_printer: tuple[Kept, ...],
):
    assert faults(Fate.ACCEPTED, *at_printer)


@pytest.mark.parametrize("fate", [Fate.UNKNOWN, Fate.REFUSED, Fate.CANCELLED])
def test_a_document_of_unknown_fate_may_be_there_once_or_not(fate: Fate):
    document = kept(b"document")

    assert faults(fate) == []
    assert faults(fate, document) == []
    assert faults(fate, document, document)


def test_no_printer_may_keep_a_cut_document_as_completed():
    assert faults(Fate.CUT, kept(b"docu", completed=False)) == []
    (fault,) = faults(Fate.CUT, kept(b"docu"))
    assert "4 bytes" in fault


def test_every_check_clears_the_ledger():
    ledger = Ledger()
    ledger.sending("A", b"one").fate = Fate.ACCEPTED
    assert ledger.judge([kept(b"one")]) == []
    assert ledger.judge([]) == []
    assert ledger.judge([kept(b"one")])
    assert ledger.fates == {Fate.ACCEPTED: 1}
