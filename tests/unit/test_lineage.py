"""Candidates as commits."""

from pathlib import Path

import pytest

from swarm.bench.candidates import MemoryCandidates
from swarm.errors import SwarmError
from swarm.ports import CandidateStore
from swarm.research.lineage import Lineage

BASE = "A = 1\n\nB = 2\n\nC = 3\n"


@pytest.fixture
def lineage(tmp_path: Path) -> Lineage:
    return Lineage(tmp_path / "repo.git", "src/train.py")


def test_a_candidate_is_a_commit_with_its_parents_other_files(lineage: Lineage, tmp_path: Path) -> None:
    base = lineage.commit("e000", BASE, "baseline", parent=None, at=0.0, files={"prepare.py": "pass\n"})
    child = lineage.commit("e001", BASE.replace("1", "7"), "A 1→7\n\nmore", parent=base, at=0.0)
    assert lineage.source(child) == BASE.replace("1", "7")
    assert "-A = 1\n+A = 7" in lineage.diff(base, child)
    lineage.set_best(child)
    path = lineage.checkout(child, tmp_path / "out")
    assert path.read_text() == BASE.replace("1", "7")
    assert (tmp_path / "out" / "prepare.py").read_text() == "pass\n"


def test_the_same_candidate_at_the_same_time_is_the_same_commit(tmp_path: Path) -> None:
    first, second = (Lineage(tmp_path / name, "train.py") for name in ("one.git", "two.git"))
    assert first.commit("e000", BASE, "m", parent=None, at=5.0) == second.commit("e000", BASE, "m", parent=None, at=5.9)
    assert first.commit("e000", BASE, "m", parent=None, at=5.0) != first.commit("e000", BASE, "m", parent=None, at=6.0)


def test_reopening_keeps_what_was_committed(lineage: Lineage, tmp_path: Path) -> None:
    base = lineage.commit("e000", BASE, "baseline", parent=None, at=0.0)
    assert Lineage(tmp_path / "repo.git", "src/train.py").source(base) == BASE


def test_packing_leaves_no_file_of_its_own_to_any_candidate(lineage: Lineage, tmp_path: Path) -> None:
    base = lineage.commit("e000", BASE, "baseline", parent=None, at=0.0)
    lineage.set_best(base)
    for number in range(1, 4):
        lineage.commit(f"e00{number}", f"{BASE}D = {number}\n", "m", parent=base, at=0.0)
    loose = ("objects/??/*", "refs/candidates/*")
    assert all([*(tmp_path / "repo.git").glob(pattern)] for pattern in loose)
    lineage.pack()
    assert not any([*(tmp_path / "repo.git").glob(pattern)] for pattern in loose)
    assert len([*(tmp_path / "repo.git").glob("objects/pack/*.pack")]) == 1


# ── promises of every store of candidates ───────────────────────────────────────────────────────────────


@pytest.fixture(params=["git", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> CandidateStore:
    return Lineage(tmp_path / "repo.git", "train.py") if request.param == "git" else MemoryCandidates("train.py")


def test_source_is_kept_to_the_byte(store: CandidateStore) -> None:
    text = "# ünïcode — and no newline at the end\nX = 1"
    assert store.source(store.commit("e000", text, "m", parent=None, at=0.0)) == text


def test_every_experiment_has_a_commit_of_its_own(store: CandidateStore) -> None:
    base = store.commit("e000", BASE, "baseline", parent=None, at=0.0)
    twins = [store.commit(f"e00{number}", BASE + "D = 4\n", f"idea {number}", parent=base, at=0.0) for number in (1, 2)]
    assert len({base, *twins}) == 3
    store.set_best(twins[0])
    assert store.source(twins[1]) == BASE + "D = 4\n"


def test_a_diff_shows_what_changed(store: CandidateStore) -> None:
    base = store.commit("e000", BASE, "baseline", parent=None, at=0.0)
    child = store.commit("e001", BASE.replace("1", "7"), "A 1→7", parent=base, at=0.0)
    assert "-A = 1\n+A = 7" in store.diff(base, child)
    assert "train.py" in store.diff(base, child)
    assert store.diff(base, base) == ""


def test_merge_joins_distant_edits_and_refuses_clashing_ones(store: CandidateStore) -> None:
    ours, theirs = BASE.replace("1", "7"), BASE.replace("3", "9")
    assert store.merge(BASE, ours, theirs) == "A = 7\n\nB = 2\n\nC = 9\n"
    assert store.merge(BASE, BASE.replace("2", "5"), BASE.replace("2", "6")) is None


def test_packed_candidates_are_what_they_were(store: CandidateStore) -> None:
    base = store.commit("e000", BASE, "baseline", parent=None, at=0.0)
    children = [store.commit(f"e00{n}", f"{BASE}D = {n}\n", "m", parent=base, at=0.0) for n in range(1, 4)]
    for _ in range(2):
        store.pack()
        assert [store.source(child) for child in children] == [f"{BASE}D = {n}\n" for n in range(1, 4)]
    assert store.source(store.commit("e004", "X = 1\n", "m", parent=children[2], at=0.0)) == "X = 1\n"


def test_an_unknown_commit_is_said_in_one_line(store: CandidateStore) -> None:
    with pytest.raises(SwarmError, match=r"git cat-file failed|no candidate 0+ is known"):
        store.source("0" * 40)
