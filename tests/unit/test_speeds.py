"""A heavy candidate is told from a shared slot."""

from swarm.research.experiment import Trial
from swarm.research.speeds import Speeds
from trainer.contract import Outcome


def trial(
    candidate: str,
    speed: float,
    *,
    slot: str = "H100-0",
    accelerator: str = "H100",
    tier: str = "screen",
    outcome: Outcome = Outcome.COMPLETED,
) -> Trial:
    return Trial(
        id=f"{candidate}-{slot}-{speed}",
        experiment=candidate,
        candidate=candidate,
        tier=tier,
        slot=slot,
        accelerator=accelerator,
        seed=1,
        token=1,
        started_at=0.0,
        ended_at=300.0,
        outcome=outcome,
        value=1.0 if outcome is Outcome.COMPLETED else None,
        train_seconds=300.0,
        steps=int(speed * 300),
    )


def settled(slot: str = "H100-0") -> Speeds:
    """A slot whose norm is some 3.5 steps/s."""
    speeds = Speeds()
    for number, speed in enumerate((3.4, 3.5, 3.5, 3.6, 3.5)):
        speeds.add(trial(f"c{number}", speed, slot=slot))
    return speeds


def test_nothing_is_said_before_a_norm_is_known() -> None:
    speeds = Speeds()
    speeds.add(trial("c0", 3.5))
    assert speeds.norm("screen", "H100-0") is None
    assert speeds.contention(trial("new", 0.1)) is None


def test_a_trial_far_under_its_slots_norm_is_contended() -> None:
    told = settled().contention(trial("new", 1.4))  # 355 steps became 140
    assert told is not None
    assert "1.4 steps/s, the norm of H100-0 is 3.5" in told
    assert settled().contention(trial("new", 2.0)) is None  # a somewhat heavier model
    assert settled().contention(trial("new", 1.4, slot="H100-1")) is None  # of that slot nothing is known


def test_a_candidate_that_is_as_slow_again_is_slow_itself() -> None:
    speeds = settled()
    speeds.add(trial("heavy", 1.0, outcome=Outcome.CONTENDED))
    assert speeds.contention(trial("heavy", 1.1)) is None
    assert speeds.contention(trial("heavy", 0.5)) is not None
    assert speeds.contention(trial("other", 1.1)) is not None


def test_a_known_candidate_is_held_against_itself() -> None:
    speeds = settled()
    speeds.add(trial("light", 7.0))
    assert speeds.contention(trial("light", 4.0)) is not None  # above the norm of the slot, and yet disturbed
    assert speeds.contention(trial("light", 6.0)) is None
    assert speeds.contention(trial("light", 4.0, accelerator="A10", slot="A10-0")) is None  # another kind of slot


def test_what_was_contended_does_not_lower_the_norm_and_silence_says_nothing() -> None:
    speeds = settled()
    for _ in range(20):
        speeds.add(trial("x", 0.2, outcome=Outcome.CONTENDED))
    assert speeds.norm("screen", "H100-0") == 3.5
    assert speeds.contention(trial("silent", 0.0)) is None  # it reports no steps
