"""The judge of the soak sees every kind of loss, and nothing where nothing was lost."""

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


def test_a_document_that_was_accepted_is_there():
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
def test_an_accepted_document_that_is_not_there_once_is_a_fault(at_printer: tuple[Kept, ...]):
    assert faults(Fate.ACCEPTED, *at_printer)


@pytest.mark.parametrize("fate", [Fate.UNKNOWN, Fate.REFUSED, Fate.CANCELLED])
def test_what_its_client_does_not_know_may_be_there_or_not_but_not_twice(fate: Fate):
    document = kept(b"document")

    assert faults(fate) == []
    assert faults(fate, document) == []
    assert faults(fate, document, document)


def test_a_cut_document_is_kept_as_completed_by_nobody():
    assert faults(Fate.CUT, kept(b"docu", completed=False)) == []
    (fault,) = faults(Fate.CUT, kept(b"docu"))
    assert "4 bytes" in fault


def test_every_judgement_begins_a_new_page():
    ledger = Ledger()
    ledger.sending("A", b"one").fate = Fate.ACCEPTED
    assert ledger.judge([kept(b"one")]) == []
    assert ledger.judge([]) == []
    assert ledger.judge([kept(b"one")])
    assert ledger.fates == {Fate.ACCEPTED: 1}
