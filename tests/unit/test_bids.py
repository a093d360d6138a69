"""A proposer's word, as far as its record supports it."""

import pytest

from swarm.research.bids import MOST, TrackRecord


def record(pairs: list[tuple[float | None, float]]) -> TrackRecord:
    kept = TrackRecord()
    for number, (stated, shown) in enumerate(pairs):
        kept.add(f"e{number}", stated, shown)
    return kept


def test_without_a_record_a_word_is_believed() -> None:
    assert TrackRecord().supported(0.02) == pytest.approx(0.02)


def test_who_promises_nothing_expects_nothing() -> None:
    assert record([(0.01, 0.01)] * 9).supported(None) == 0.0


def test_who_keeps_its_word_outbids_who_does_not() -> None:
    honest, boaster = record([(0.01, 0.01)] * 20), record([(0.10, 0.001)] * 20)
    assert honest.supported(0.01) == pytest.approx(0.01)
    assert boaster.supported(0.01) < 0.003
    assert boaster.supported(0.10) < 0.03


def test_a_record_of_losses_makes_a_word_worthless_and_modesty_is_believed_within_bounds() -> None:
    assert record([(0.01, -0.02)] * 30).supported(0.01) == 0.0
    assert record([(0.01, 1.0)] * 30).supported(0.01) == pytest.approx(0.01 * MOST)


def test_a_second_look_at_an_experiment_replaces_the_first() -> None:
    twice = TrackRecord()
    twice.add("e0", 0.01, 5.0)
    twice.add("e0", 0.01, 0.01)
    assert twice.supported(0.01) == pytest.approx(record([(0.01, 0.01)]).supported(0.01))


def test_a_promise_of_nought_is_worth_nought() -> None:
    assert TrackRecord().supported(0.0) == 0.0
