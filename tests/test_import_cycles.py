"""No two modules of the package import each other, however long the way around.

Imports under TYPE_CHECKING count: they hide a circle from the interpreter, not from a reader.
"""

from __future__ import annotations

import grimp
import pytest
from grimp import ImportGraph


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return grimp.build_graph("ippusbd", exclude_type_checking_imports=False, cache_dir=None)


def test_no_import_leads_back_to_its_module(graph: ImportGraph):
    imports = [
        (module, imported)
        for module in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(module))
    ]
    assert len(imports) > 500, "the graph is that of the package"
    ways_back = [
        (module, *graph.find_shortest_chain(imported, module))
        for module, imported in imports
        if graph.chain_exists(imported, module)
    ]
    assert not ways_back, "\n".join(" -> ".join(way) for way in ways_back)
