"""PaperMax is the class of the largest sheet, not of the longest side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ippusbd.wire.paper import CLASSES, paper_max, size_of_name

MM = 100


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], ""),
        ([(0, 29700)], ""),
        ([(10160, 15240)], "<legal-A4"),  # a photo printer's 4 x 6 in
        ([(21590, 27940)], "<legal-A4"),  # Letter alone holds neither A4 nor Legal
        ([(21000, 29700)], "legal-A4"),
        ([(20990, 29690)], "legal-A4"),  # firmware that rounds
        ([(21590, 35560)], "legal-A4"),
        ([(21590, 120000)], "legal-A4"),  # a banner is no larger sheet
        ([(21590, 127000), (10500, 14800)], "legal-A4"),
        ([(27940, 43180)], "tabloid-A3"),
        ([(29700, 42000)], "tabloid-A3"),
        ([(32900, 48300)], "tabloid-A3"),  # A3+
        ([(43180, 55880)], "isoC-A2"),
        ([(42000, 59400)], "isoC-A2"),
        ([(43200, 59400)], ">isoC-A2"),
        ([(59400, 84100)], ">isoC-A2"),
        ([(59400, 84100), (21000, 29700)], ">isoC-A2"),
    ],
)
def test_sizes_fall_into_classes(sizes, expected):
    assert paper_max(sizes) == expected


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("iso_a4_210x297mm", (21000, 29700)),
        ("na_legal_8.5x14in", (21590, 35560)),
        ("custom_max_215.9x355.6mm", (21590, 35560)),
        ("roll_max_24x1200in", (60960, 3048000)),
        ("iso-a4", None),
        ("iso_a4_210x297mm-white", None),
        ("a_1e9x1e9mm", None),
        ("a_" + "1" * 400 + "x1mm", None),
        ("", None),
    ],
)
def test_self_describing_names_end_with_their_size(name, size):
    assert size_of_name(name) == size


@given(st.lists(st.tuples(st.integers(-9, 200_000), st.integers(-9, 200_000))))
def test_one_more_size_never_makes_the_class_smaller(sizes):
    order = ["", *CLASSES]
    ranks = [order.index(paper_max(sizes[:end])) for end in range(len(sizes) + 1)]
    assert ranks == sorted(ranks)


@given(st.text())
def test_any_name_has_a_size_or_none(name):
    assert size_of_name(name) is None or name[-2:] in ("in", "mm")
