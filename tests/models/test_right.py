"""The tables of right values find what is wrong."""

from __future__ import annotations

from models.examined import DATA, models
from models.right import CAPTURED, RIGHT, wrong

NAME = "fax-mfp-relative-uris"
ANSWERS = models(DATA)[NAME]
GOOD = {
    "ipp.name": "Example Office 41 (USB)",
    "ipp.ty": "Example Office 41",
    "ipp.Color": "T",
    "ipp.Duplex": "T",
    "ipp.pdl": "application/pdf,image/urf,image/pwg-raster,image/jpeg",
    "ipp.kind": "document",
    "everywhere": "T",
    "scan.ty": "Example Office 41",
    "scan.duplex": "T",
    **RIGHT[NAME],
}


def test_right_values_are_right():
    assert wrong(NAME, ANSWERS, GOOD) == []


def test_a_wrong_a_missing_and_a_failed_value_are_named():
    missing = {key: value for key, value in GOOD.items() if key != "printed"}
    for values, faults in (
        ({**GOOD, "scan.adminurl": "http://localhost:60000/eSCL/index.html"}, ["scan.adminurl"]),
        ({**GOOD, "ipp.ty": "Unknown"}, ["ipp.ty"]),
        (missing, ["printed"]),
        ({**GOOD, "driverless": "FAILED: driverless ended with 1"}, ["driverless"]),
        ({**GOOD, "served": "FAILED: not announced"}, ["served"]),
        ({}, [*GOOD]),
    ):
        assert {one.partition(":")[0] for one in wrong(NAME, ANSWERS, values)} == set(faults)


def test_every_model_of_the_project_is_in_its_table():
    assert set(models(DATA)) == set(RIGHT)
    assert not set(RIGHT) & set(CAPTURED)
