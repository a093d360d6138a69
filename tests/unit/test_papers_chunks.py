"""Passages keep every word, their order and their page."""

from hypothesis import given
from hypothesis import strategies as st

from papers.chunks import TARGET_WORDS, WHOLE_WORDS, chunk
from papers.record import Page

SENTENCES = st.lists(
    st.integers(1, 60).map(lambda n: " ".join(["Word", *["more"] * (n - 1)]) + "."), min_size=1, max_size=60
)


def test_an_abstract_stays_whole() -> None:
    text = "One sentence. " * (WHOLE_WORDS // 2)
    assert [piece.text for piece in chunk([Page(number=None, text=text)])] == [text.strip()]


def test_no_passage_crosses_a_page() -> None:
    pieces = list(chunk([Page(number=1, text="First page."), Page(number=2, text="  "), Page(number=3, text="Third.")]))
    assert [(piece.page, piece.text) for piece in pieces] == [(1, "First page."), (3, "Third.")]


@given(SENTENCES)
def test_nothing_is_lost_and_passages_end_with_sentences(sentences: list[str]) -> None:
    text = " ".join(sentences)
    pieces = list(chunk([Page(number=7, text=text)]))
    assert " ".join(piece.text for piece in pieces) == text
    assert all(piece.text.endswith(".") and piece.page == 7 for piece in pieces)
    if len(pieces) > 1:
        assert all(TARGET_WORDS // 3 <= len(piece.text.split()) <= TARGET_WORDS * 4 // 3 + 60 for piece in pieces)


def test_a_text_without_full_stops_is_cut_all_the_same() -> None:
    pieces = list(chunk([Page(number=1, text="word " * 5000)]))
    assert sum(len(piece.text.split()) for piece in pieces) == 5000
    assert max(len(piece.text.split()) for piece in pieces) <= 2 * TARGET_WORDS


def test_control_characters_and_lone_surrogates_do_not_get_through() -> None:
    (piece,) = chunk([Page(number=None, text="a\x00b \ud800c\nsoft\xadware")])
    assert piece.text == "a b c software"
