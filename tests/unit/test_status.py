"""What `swarm status` says, from events alone."""

from typing import Any

import pytest

from swarm.leases.lease import SlotUse
from swarm.research.ledger import Event, Kind
from swarm.research.state import SessionState
from swarm.status import Vitals, measured_spans, status_of

FIELDS = {
    "session", "state", "reason", "task", "elapsed_seconds", "counts", "baseline", "incumbent", "noise", "gpu_hours",
    "dollars", "tokens", "occupancy", "plateau",
}  # fmt: skip
COUNTS = {"proposed", "held", "rejected", "running", "pruned", "promoted", "confirmed", "refuted", "crashed"}
INCUMBENT = {"experiment", "tier", "value", "baseline_value", "improvement_percent", "ci95"}


class Story:
    """Tells a session event by event."""

    def __init__(self, *, direction: str = "minimize") -> None:
        self.state = SessionState("s-1")
        self.at = 1000.0
        self.tell(Kind.SESSION_OPENED, "opened", {"task": "toy", "metric": "loss", "direction": direction})

    def tell(self, kind: Kind, key: str, data: dict[str, Any], experiment: str | None = None) -> None:
        event = Event(
            seq=self.state.seq + 1, session="s-1", at=self.at, kind=kind, key=key, experiment=experiment, data=data
        )
        self.state.apply(event)

    def run(self, number: int = 1) -> None:
        self.tell(Kind.RUN_STARTED, str(number), {"pid": 1})

    def end_run(self, number: int = 1) -> None:
        self.tell(Kind.RUN_ENDED, str(number), {"reason": "enough"})

    def propose(self, name: str, status: str = "PROPOSED") -> None:
        data = {
            "status": status, "author": "a", "hypothesis": "h", "parent": None, "candidate": f"c-{name}", "changes": {},
            "expected_gain": None, "citations": (), "wave": None,
        }  # fmt: skip
        self.tell(Kind.PROPOSED, name, data, name)

    def move(self, name: str, *moves: str) -> None:
        for move in moves:
            number = self.state.experiments[name].moves
            data = {"move": move, "reasons": (), "verdict": {}, "candidate": None, "parent": None}
            self.tell(Kind.MOVED, f"{name}/{number}", data, name)

    def trial(  # one that has run, or one that still runs
        self,
        name: str,
        seed: int,
        value: float | None,
        *,
        tier: str = "validate",
        accelerator: str = "cpu",
        holdout: float | None = None,
    ) -> None:
        key = f"{name}-{tier}-{seed}-{accelerator}"
        started = {
            "id": key, "candidate": f"c-{name}", "tier": tier, "slot": f"{accelerator}-0", "accelerator": accelerator,
            "seed": seed, "token": 1,
        }  # fmt: skip
        self.tell(Kind.TRIAL_STARTED, key, started, name)
        outcome = "COMPLETED" if value is not None else "CRASHED"
        self.tell(Kind.TRIAL_ENDED, key, {"outcome": outcome, "value": value, "holdout": holdout, "message": ""}, name)

    def confirm(self, name: str) -> None:
        self.propose(name)
        self.move(name, "approve", "screen", "promote", "validate", "confirm")


def measured(direction: str = "minimize") -> Story:
    """A baseline with a noise floor, and a run under way."""
    story = Story(direction=direction)
    story.run()
    story.propose("s-1-e000", "BASELINE")
    for seed, value in enumerate((2.00, 2.02, 1.98, 2.00)):
        story.trial("s-1-e000", seed, value)
        story.trial("s-1-e000", seed, value + 1, tier="screen")
    return story


def alive(now: float = 1010.0, **more: Any) -> Vitals:
    return Vitals(now=now, pulses={1: now - 1}, process_alive=True, phase="working", **more)


def test_the_fields_are_those_that_scripts_depend_on() -> None:
    found = status_of(measured().state, alive())
    assert set(found) == FIELDS | {"models", "reviewer", "holdout", "ablation"}
    assert set(found["counts"]) == COUNTS | {"held"}
    assert set(found["incumbent"]) == INCUMBENT | {"improvement_ci95"}


def test_before_a_gain_is_confirmed_the_incumbent_is_the_baseline() -> None:
    found = status_of(measured().state, alive())
    assert found["baseline"] == {"validate": pytest.approx(2.0), "screen": pytest.approx(3.0)}
    incumbent = found["incumbent"]
    assert incumbent["experiment"] == "s-1-e000"
    assert incumbent["value"] == incumbent["baseline_value"] == pytest.approx(2.0)
    assert incumbent["improvement_percent"] == 0.0
    assert incumbent["improvement_ci95"] is None
    assert found["noise"]["validate"] == pytest.approx(0.01633, abs=1e-4)  # sd of the four values


def test_a_session_that_has_only_begun_has_absences_and_no_numbers() -> None:
    story = Story()
    found = status_of(story.state, Vitals(now=1001.0))
    assert found["incumbent"] is None
    assert found["occupancy"] is None
    assert found["baseline"] == found["noise"] == {}
    story.run()
    story.propose("s-1-e000", "BASELINE")
    assert status_of(story.state, alive())["incumbent"]["value"] is None


def test_a_gain_is_measured_on_the_seeds_that_incumbent_and_baseline_share() -> None:
    story = measured()
    story.trial("s-1-e000", 7, 9.0)  # a seed the incumbent never ran
    story.confirm("s-1-e001")
    for seed, value in ((0, 1.80), (1, 1.82)):
        story.trial("s-1-e001", seed, value)
    incumbent = status_of(story.state, alive())["incumbent"]
    assert incumbent["experiment"] == "s-1-e001"
    assert incumbent["value"] == pytest.approx(1.81)
    assert incumbent["baseline_value"] == pytest.approx(2.01)
    assert incumbent["improvement_percent"] == pytest.approx(100 * 0.2 / 2.01)
    low, high = incumbent["improvement_ci95"]
    assert low < incumbent["improvement_percent"] < high


def test_intervals_come_from_the_pooled_noise_and_students_t() -> None:
    story = measured()
    story.confirm("s-1-e001")
    for seed, value in ((0, 1.80), (1, 1.80)):
        story.trial("s-1-e001", seed, value)
    incumbent = status_of(story.state, alive())["incumbent"]
    sd = (0.0008 / 4) ** 0.5  # squares of the baseline's four over 3 + 1 degrees of freedom
    half = 2.776445 * sd / 2**0.5  # t(0.975, 4)
    assert incumbent["ci95"] == pytest.approx([1.80 - half, 1.80 + half], abs=1e-6)


def test_scores_of_another_accelerator_never_enter() -> None:
    story = measured()
    story.confirm("s-1-e001")
    story.trial("s-1-e001", 0, 1.8)
    story.trial("s-1-e001", 1, 0.1, accelerator="H200")
    story.trial("s-1-e000", 1, 0.2, accelerator="H200")
    found = status_of(story.state, alive())
    assert found["incumbent"]["value"] == pytest.approx(1.8)
    assert found["baseline"]["validate"] == pytest.approx(2.0)


def test_more_is_better_where_the_task_maximises() -> None:
    story = measured("maximize")
    story.confirm("s-1-e001")
    story.trial("s-1-e001", 0, 2.2)
    assert status_of(story.state, alive())["incumbent"]["improvement_percent"] == pytest.approx(10.0)


def test_counts_are_cumulative_and_leave_the_baseline_out() -> None:
    story = measured()
    story.confirm("s-1-e001")
    for name, moves in {
        "s-1-e002": ("reject",),
        "s-1-e003": ("approve", "screen", "prune"),
        "s-1-e004": ("approve", "screen"),
        "s-1-e005": ("approve", "screen", "promote", "validate"),
        "s-1-e006": ("approve", "screen", "promote", "validate", "refute"),
        "s-1-e007": ("approve", "screen", "crash"),
        "s-1-e008": ("hold",),
    }.items():
        story.propose(name)
        story.move(name, *moves)
    assert status_of(story.state, alive(promoted=3))["counts"] == {
        "proposed": 8, "rejected": 1, "held": 1, "running": 2, "pruned": 1, "promoted": 3, "confirmed": 1, "refuted": 1,
        "crashed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("vitals", "word"),
    [
        (alive(), "running"),
        (Vitals(now=1010.0, pulses={1: 1009.0}, process_alive=True, phase="starting"), "running"),
        (Vitals(now=1010.0, pulses={1: 1009.0}, process_alive=True, phase="paused"), "paused"),
        (Vitals(now=1010.0, pulses={1: 1009.0}, process_alive=True, phase="draining"), "draining"),
        (Vitals(now=1010.0, pulses={1: 1009.0}, process_alive=True, phase="closing examination"), "draining"),
        (Vitals(now=1010.0, pulses={1: 1009.0}, process_alive=False), "died"),
        (Vitals(now=1030.0, pulses={1: 1009.0}, process_alive=True), "died"),
        (Vitals(now=1010.0, process_alive=True), "running"),  # no pulse yet
    ],
)
def test_the_state_of_a_session_whose_run_has_not_ended(vitals: Vitals, word: str) -> None:
    assert status_of(measured().state, vitals)["state"] == word


def test_a_run_that_ended_leaves_the_session_stopped_or_ended() -> None:
    story = measured()
    story.end_run()
    assert status_of(story.state, alive())["state"] == "stopped"
    story = measured()
    story.tell(Kind.SESSION_ENDED, "1", {"reason": "the 8 hours are over"})
    story.end_run()
    assert status_of(story.state, alive())["state"] == "ended"


def test_the_hidden_shard_is_told_only_when_the_session_is_over() -> None:
    story = measured()
    story.confirm("s-1-e001")
    for seed, value in ((0, 1.70), (1, 1.72)):  # a gain of 0.3, on the seeds by which it was confirmed
        story.trial("s-1-e001", seed, value)
    story.trial("s-1-e001", 40, 1.8, holdout=1.9)
    story.trial("s-1-e000", 40, 2.0, holdout=2.1)
    story.trial("s-1-e000", 41, 2.0, holdout=9.9)  # its twin was preempted
    assert status_of(story.state, alive())["holdout"] is None
    story.tell(Kind.SESSION_ENDED, "1", {"reason": "over"})
    found = status_of(story.state, alive())["holdout"]
    assert (found["value"], found["baseline_value"], found["seeds"]) == (1.9, 2.1, 1)
    assert found["validation_gain"] == pytest.approx(0.3)
    assert found["gap"] == pytest.approx(0.1)
    assert found["gap_ci95"][0] < found["gap"] < found["gap_ci95"][1]


def test_occupancy_is_measured_over_the_runs_after_the_first_half_minute() -> None:
    story = measured()
    assert measured_spans(story.state, alive(now=1020.0)) == []
    story.at = 1100.0
    story.end_run(1)
    story.at = 2000.0
    story.run(2)
    vitals = Vitals(
        now=2010.0, pulses={1: 1099.0, 2: 2009.5}, process_alive=True, phase="working", slots=2, busy_seconds=144.0
    )
    assert measured_spans(story.state, vitals) == [(1030.0, 1100.0), (2000.0, 2010.0)]
    found = status_of(story.state, vitals)
    assert found["occupancy"] == pytest.approx(144 / (2 * 80))
    assert found["elapsed_seconds"] == pytest.approx(109.5)


def test_a_dead_run_counts_up_to_its_last_pulse() -> None:
    story = measured()
    vitals = Vitals(now=9999.0, pulses={1: 1060.0}, slots=1, busy_seconds=30.0)
    assert measured_spans(story.state, vitals) == [(1030.0, 1060.0)]
    assert status_of(story.state, vitals)["occupancy"] == 1.0


def test_the_reviewer_is_right_by_what_trials_showed_and_by_nothing_else() -> None:
    story = Story()
    story.run()
    story.propose("e0", "BASELINE")
    ends = {
        "e1": ("approve", "screen", "prune"),
        "e2": ("approve", "screen", "promote", "validate", "confirm"),
        "e3": ("approve", "screen", "promote", "validate", "refute"),
        "e4": ("approve", "screen", "promote", "withdraw"),
        "e5": ("hold", "reject"),
        "e6": ("approve", "screen"),
        "e7": ("reject",),
    }
    for name, moves in ends.items():
        story.propose(name)
        story.tell(Kind.REVIEWED, name, {"verdict": "REJECTED", "sampled": name != "e7"}, name)
        story.move(name, *moves)
    story.propose("e8")
    story.tell(Kind.REVIEWED, "e8", {"verdict": "APPROVED", "sampled": False}, "e8")
    assert status_of(story.state, Vitals(now=story.at))["reviewer"] == {
        "judged": 8, "turned_down": 7, "sampled": 6, "over": 3, "right": 2, "precision": 2 / 3,
    }  # fmt: skip


def test_costs_are_sums_over_slots() -> None:
    use = (
        SlotUse(slot="a", accelerator="H100", seconds=1800, dollars=1.5),
        SlotUse(slot="b", accelerator="H100", seconds=5400, dollars=4.5),
    )
    found = status_of(measured().state, alive(use=use))
    assert found["gpu_hours"] == pytest.approx(2.0)
    assert found["dollars"] == pytest.approx(6.0)
    assert found["tokens"] == 0


def test_a_death_is_explained_as_far_as_it_can_be() -> None:
    story = Story()
    story.run()
    silent = {"now": 2000.0, "pulses": {1: 1010.0}}
    assert status_of(story.state, Vitals(**silent))["state"] == "died"
    assert "process 1 was killed, or ran out of memory" in status_of(story.state, Vitals(**silent))["reason"]
    assert "says nothing" in status_of(story.state, Vitals(**silent, process_alive=True))["reason"]
    assert "machine was restarted" in status_of(story.state, Vitals(**silent, booted_at=1500.0))["reason"]
    assert status_of(story.state, Vitals(now=1011.0, pulses={1: 1010.0}, process_alive=True))["reason"] is None
    story.end_run()
    assert status_of(story.state, Vitals(**silent))["reason"] == "enough"
