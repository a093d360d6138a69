"""The second look at a search's best candidates."""

from hypothesis import given
from hypothesis import strategies as st

from notebook_store.index import Match
from notebook_store.rerank import DEPTH, rerank


def match(name: str, score: float) -> Match:
    return Match(id=name, score=score)


def test_words_side_by_side_beat_the_same_words_apart() -> None:
    texts = {
        "apart": [("The rate of learning fell as warmup weights decay.", 1.0)],
        "together": [("Learning rates and weight decay.", 1.0)],
        "neither": [("Nothing of it.", 1.0)],
    }
    ranking = [match("apart", 0.6), match("together", 0.55), match("neither", 0.1)]
    found = rerank("learning rate and weight decay", ranking, texts)
    assert [one.id for one in found] == ["together", "apart", "neither"]


def test_a_pair_in_the_title_counts_for_more() -> None:
    texts = {"body": [("x", 3.0), ("weight decay", 1.0)], "title": [("weight decay", 3.0), ("x", 1.0)]}
    assert rerank("weight decay", [match("body", 0.5), match("title", 0.5)], texts)[0].id == "title"


def test_pairs_over_a_stop_word_are_none() -> None:
    ranking = [match("a", 0.5), match("b", 0.4)]
    found = rerank("decay of the weight", ranking, {"a": [("x", 1.0)], "b": [("decay of the weight", 1.0)]})
    assert [one.id for one in found] == ["a", "b"]


@given(
    st.lists(st.floats(0, 1), max_size=80).map(lambda scores: sorted(scores, reverse=True)),
    st.lists(st.sampled_from(["weight decay", "decay", "warmup", ""]), min_size=80, max_size=80),
)
def test_scores_stay_within_bounds_and_in_order_and_nobody_is_lost(scores: list[float], texts: list[str]) -> None:
    ranking = [match(f"{number:02}", score) for number, score in enumerate(scores)]
    found = rerank("weight decay warmup", ranking, {f"{number:02}": [(text, 1.0)] for number, text in enumerate(texts)})
    assert {one.id for one in found} == {one.id for one in ranking}
    assert [one.id for one in found[DEPTH:]] == [one.id for one in ranking[DEPTH:]]
    assert all(0 <= one.score <= 1 for one in found)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
