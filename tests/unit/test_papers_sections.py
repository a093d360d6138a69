"""Headings are told from lists, tables and running text; nothing but headings is left out."""

import pytest

from papers.formats.sections import Sections, is_references

PAPER = """A Title
Ina Roe
Abstract. We warm up.
1 Introduction
Warmup is used by everyone. Our contributions are:
1. We show that warmup helps.
2. We explain why it
does. See Table 1.
2 Related Work
Others did it too.
2.1 Learning rates
Some words.
4 Adam 0.001 0.9
3 Warmup in tiny models
We tried it.
References
[1] Someone. A paper about warmup.
A Proof of the main result
It follows.
B.1 Wrong
B Hyperparameters
All of them."""


def test_a_paper_is_told_apart_by_its_headings() -> None:
    parts = list(Sections().split(PAPER))
    assert [section for section, _ in parts] == [
        None, "Abstract", "1 Introduction", "2 Related Work", "2.1 Learning rates", "3 Warmup in tiny models",
        "References", "A Proof of the main result", "B Hyperparameters",
    ]  # fmt: skip
    assert parts[0][1] == "A Title\nIna Roe"
    assert parts[1][1] == "We warm up."
    assert "2. We explain why it" in parts[2][1]
    assert "4 Adam" in parts[4][1]


def test_a_section_goes_on_over_pages() -> None:
    sections = Sections()
    assert list(sections.split("1. Introduction\nFirst page.")) == [("1. Introduction", "\nFirst page.")]
    assert list(sections.split("Second page.\nII. RELATED WORK\nx")) == [
        ("1. Introduction", "Second page."),
        ("II. RELATED WORK", "\nx"),
    ]


@pytest.mark.parametrize("line", ["Method", "Results", "1 2 3", "2 Warmup", "The references", "", "A Model"])
def test_lines_that_are_no_headings(line: str) -> None:
    assert [section for section, _ in Sections().split(f"{line}\ntext")] == [None]


def test_references_are_known_as_such() -> None:
    assert is_references("7 References") and is_references("BIBLIOGRAPHY")
    assert not is_references("2 Preferences and rewards") and not is_references(None)
