"""Legal moves, and state as replay of the ledger."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import HomeTooNew, IllegalTransition
from swarm.research.experiment import FINAL, Experiment, Move, Status
from swarm.research.ledger import Kind, Ledger
from swarm.research.state import SessionState, seeds


def experiment(status: Status = Status.PROPOSED) -> Experiment:
    return Experiment(
        id="s-e001",
        status=status,
        author="proposer",
        hypothesis="WIDTH 64→96 helps",
        parent="aaa",
        candidate="bbb",
        changes={"WIDTH": 96},
        expected_gain=None,
        citations=(),
        wave=None,
        created_at=0.0,
    )


@given(st.lists(st.sampled_from(list(Move)), max_size=12))
def test_no_sequence_of_moves_leaves_a_final_status(moves: list[Move]) -> None:
    now = experiment()
    for move in moves:
        try:
            after = now.advance(move)
        except IllegalTransition:
            continue
        assert not now.is_final
        assert after.moves == now.moves + 1
        now = after


@pytest.mark.parametrize("status", sorted(FINAL))
@pytest.mark.parametrize("move", list(Move))
def test_a_final_status_allows_no_move(status: Status, move: Move) -> None:
    with pytest.raises(IllegalTransition, match="cannot"):
        experiment(status).advance(move)


def proposed(name: str, status: Status = Status.PROPOSED) -> dict[str, object]:
    return {
        "status": status,
        "author": "proposer",
        "hypothesis": name,
        "parent": None,
        "candidate": f"commit-{name}",
        "changes": {},
        "expected_gain": None,
        "citations": [],
        "wave": None,
    }


def moved(move: Move) -> dict[str, object]:
    return {"move": move, "reasons": [], "verdict": None, "candidate": None, "parent": None}


def ran(
    name: str, value: float | None, *, tier: str = "screen", seed: int = 1
) -> list[tuple[Kind, str, dict[str, object]]]:
    trial = f"{name}-{tier}-{seed}"
    started = {
        "id": trial,
        "candidate": f"commit-{name}",
        "tier": tier,
        "slot": "cpu-0",
        "accelerator": "cpu",
        "seed": seed,
        "token": seed,
    }
    ended = {"outcome": "COMPLETED" if value is not None else "CRASHED", "value": value}
    return [(Kind.TRIAL_STARTED, trial, started), (Kind.TRIAL_ENDED, trial, ended)]


def story() -> list[tuple[Kind, str, dict[str, object], str | None]]:
    lines: list[tuple[Kind, str, dict[str, object], str | None]] = [
        (Kind.SESSION_OPENED, "opened", {"task": "t"}, None),
        (Kind.RUN_STARTED, "1", {"pid": 1}, None),
        (Kind.PROPOSED, "e0", proposed("e0", Status.BASELINE), "e0"),
    ]
    for seed, value in enumerate((2.0, 2.2), start=1):
        lines += [(*event, "e0") for event in ran("e0", value, seed=seed)]
    lines.append((Kind.PROPOSED, "e1", proposed("e1"), "e1"))
    lines += [(Kind.MOVED, f"e1/{n}", moved(m), "e1") for n, m in enumerate((Move.APPROVE, Move.SCREEN))]
    lines += [(*event, "e1") for event in ran("e1", 1.5)]
    lines += [
        (Kind.MOVED, f"e1/{n}", moved(m), "e1")
        for n, m in enumerate((Move.PROMOTE, Move.VALIDATE, Move.CONFIRM), start=2)
    ]
    return lines


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


def test_state_is_replay_and_incremental_replay_is_the_same(ledger: Ledger) -> None:
    live = SessionState("s")
    for at, (kind, key, data, name) in enumerate(story()):
        event = ledger.append("s", kind, key, at=float(at), data=data, experiment=name)
        assert event is not None
        live.apply(event)
    again = SessionState.replay("s", ledger.events("s"))
    assert again.experiments == live.experiments
    assert again.incumbent.id == "e1"
    assert again.confirmed_tests == [1]
    assert [e.id for e in again.of_status(Status.CONFIRMED)] == ["e1"]
    assert again.count(Status.VALIDATING) == 0
    noise = again.noise("screen", "cpu")
    assert noise is not None
    assert noise.df == 1
    assert noise.sd == pytest.approx(0.2 / 2**0.5)


def test_the_same_step_twice_is_one_event(ledger: Ledger) -> None:
    first = ledger.append("s", Kind.SESSION_OPENED, "opened", at=1.0, data={"task": "t"})
    second = ledger.append("s", Kind.SESSION_OPENED, "opened", at=2.0, data={"task": "u"})
    assert first is not None
    assert second is None
    assert [event.data for event in ledger.events("s")] == [{"task": "t"}]


def test_downtime_does_not_count_as_elapsed(ledger: Ledger) -> None:
    state = SessionState("s")
    for at, number in ((0.0, 1), (1_000.0, 2)):
        event = ledger.append("s", Kind.RUN_STARTED, str(number), at=at, data={"pid": 1})
        assert event is not None
        state.apply(event)
    assert state.elapsed({1: 60.0, 2: 1_009.0}) == pytest.approx(69.0)


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "ledger.db"
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    with pytest.raises(HomeTooNew, match="upgrade nightswarm"):
        Ledger(path)


def test_seeds_of_different_purposes_never_meet() -> None:
    purposes = [set(seeds(3, purpose, 900)) for purpose in ("screen", "reference", "validate", "closing")]
    assert len(set.union(*purposes)) == 4 * 900
