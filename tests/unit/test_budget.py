"""The arithmetic of limits."""

import pytest

from swarm.config import Limits
from swarm.leases.budget import Budget, Left, Spent
from swarm.leases.lease import SlotUse

NO_LIMIT = Limits(hours=None)


def test_spent_adds_up_the_slots() -> None:
    use = [
        SlotUse(slot="a", accelerator="H100", seconds=5400.0, dollars=4.5),
        SlotUse(slot="b", accelerator="H200", seconds=1800.0, dollars=2.0),
    ]
    spent = Spent(seconds=60.0, experiments=7, dollars=1.0, tokens=10).and_slots(iter(use))
    assert spent == Spent(seconds=60.0, experiments=7, gpu_hours=2.0, dollars=7.5, tokens=10)


def test_left_is_never_negative_and_none_without_a_limit() -> None:
    spent = Spent(seconds=4000.0, experiments=3, gpu_hours=1.5, dollars=20.0, tokens=900)
    limits = Limits(hours=1.0, experiments=5, gpu_hours=2.0, dollars=10.0, tokens=1000)
    assert Budget(limits=limits, spent=spent).left == Left(
        seconds=0.0, experiments=2, gpu_hours=0.5, dollars=0.0, tokens=100
    )
    assert Budget(limits=NO_LIMIT, spent=spent).left == Left(
        seconds=None, experiments=None, gpu_hours=None, dollars=None, tokens=None
    )


@pytest.mark.parametrize(
    ("limits", "under", "at", "words"),
    [
        (Limits(hours=0.5), Spent(seconds=1799.9), Spent(seconds=1800.0), "the 0.5 hours are over"),
        (Limits(hours=None, experiments=3), Spent(experiments=2), Spent(experiments=3), "all 3 experiments were begun"),
        (Limits(hours=None, gpu_hours=2), Spent(gpu_hours=1.99), Spent(gpu_hours=2.1), "the 2 GPU-hours are used"),
        (Limits(hours=None, dollars=5), Spent(dollars=4.99), Spent(dollars=5.0), "the $5.00 are spent"),
        (Limits(hours=None, tokens=5000), Spent(tokens=4999), Spent(tokens=5001), "the 5,000 tokens are used"),
    ],
)
def test_each_limit_is_reached_exactly_there(limits: Limits, under: Spent, at: Spent, words: str) -> None:
    assert Budget(limits=limits, spent=under).reached() is None
    assert Budget(limits=limits, spent=at).reached() == words


def test_without_limits_nothing_is_reached() -> None:
    endless = Budget(limits=NO_LIMIT, spent=Spent(seconds=1e9, experiments=10**6, gpu_hours=1e6, dollars=1e9))
    assert endless.reached() is None
    assert endless.fits(1e9)


def test_a_trial_fits_when_it_ends_within_the_hours() -> None:
    budget = Budget(limits=Limits(hours=1.0), spent=Spent(seconds=3000.0))
    assert budget.fits(600.0)
    assert not budget.fits(600.1)


def test_only_what_trials_use_up_keeps_them_from_starting() -> None:
    limits = Limits(hours=1.0, experiments=1, gpu_hours=1.0, dollars=1.0, tokens=1)
    assert Budget(limits=limits, spent=Spent(seconds=1e9, experiments=9)).lasts()
    for spent in (Spent(gpu_hours=1.0), Spent(dollars=1.0), Spent(tokens=1)):
        assert not Budget(limits=limits, spent=spent).lasts()
