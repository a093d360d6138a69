"""The identity of a paper: ids, titles and authors as different sources write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papers.record import (
    Extent,
    Page,
    Record,
    family_names,
    parse_arxiv_id,
    parse_doi,
    parse_year,
    title_key,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2309.14322", "2309.14322"),
        ("arXiv:2309.14322v2", "2309.14322"),
        ("https://arxiv.org/abs/0704.0001", "0704.0001"),
        ("10.48550/arXiv.1412.6980", "1412.6980"),
        ("hep-th/9901001v3", "hep-th/9901001"),
        ("12.5 percent of 4096", None),
        ("2399.12345", None),  # there is no month 99
        (None, None),
    ],
)
def test_arxiv_ids(text: str | None, expected: str | None) -> None:
    assert parse_arxiv_id(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.1145/3292500.3330701", "10.1145/3292500.3330701"),
        ("https://doi.org/10.1145/ABC.", "10.1145/abc"),
        ("10.48550/arXiv.1412.6980", None),  # names no other work than its arXiv id does
        ("no doi", None),
    ],
)
def test_dois(text: str, expected: str | None) -> None:
    assert parse_doi(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(2018, 2018), ("2018-03-01", 2018), ("20180", None), ("soon", None), (None, None)]
)
def test_years(value: object, expected: int | None) -> None:
    assert parse_year(value) == expected


def test_titles_are_equal_whatever_their_case_accents_and_dashes() -> None:
    assert title_key("Étude: the  Muon—Optimizer?") == title_key("etude, The muon optimizer")


@given(st.text())
def test_a_title_key_is_its_own_key(title: str) -> None:
    assert title_key(title_key(title)) == title_key(title)


def test_family_names_in_either_order() -> None:
    assert family_names(("Ilya Loshchilov", "Hutter, Frank")) == {"loshchilov", "hutter"}


def test_extent_tells_title_abstract_and_full_text() -> None:
    assert Record(title="T").extent is Extent.TITLE
    assert Record(title="T", pages=(Page(number=None, text="text"),)).extent is Extent.ABSTRACT
    assert Record(title="T", pages=(Page(number=1, text="text"),)).extent is Extent.FULL_TEXT
