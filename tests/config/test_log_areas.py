"""Whatever is logged can be found by its area: `journalctl AREA=dnssd`, `[log] levels`."""

from __future__ import annotations

import importlib
import logging
import pkgutil

import pytest

import ippusbd
from ippusbd.log import AREAS, ROOT

MODULES = [
    module.name
    for module in pkgutil.walk_packages(ippusbd.__path__, "ippusbd.")
    if not module.name.endswith("__main__")  # runs the program
]


def logger_names(module_name: str) -> set[str]:
    module = importlib.import_module(module_name)
    return {each.name for each in vars(module).values() if isinstance(each, logging.Logger)}


@pytest.mark.parametrize("name", MODULES)
def test_the_logger_of_every_module_is_one_of_the_tables_areas(name: str):
    assert logger_names(name) <= {f"{ROOT}.{area}" for area in AREAS}


def test_every_area_of_the_table_has_a_logger():
    names = set().union(*map(logger_names, MODULES))
    assert names == {f"{ROOT}.{area}" for area in AREAS}
