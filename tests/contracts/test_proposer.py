"""What every Proposer promises: edits that follow from the brief, inside the ranges, and never twice."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_store.notebook import Notebook
from swarm.agents.optimizer import OptimizerProposer
from swarm.ports import Brief, Observation, Proposer
from swarm.research.experiment import Knob
from swarm.research.knobs import derive_ranges, read_knobs
from swarm.research.space import configuration, in_range
from tests.fake_embedder import WordEmbedder
from trainer.contract import find_task


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "notebook", embedder=WordEmbedder()) as notebook:
        yield notebook


@pytest.fixture(params=["optimizer"])
def proposer(notebook: Notebook) -> Proposer:
    return OptimizerProposer(notebook)


def brief(observations: tuple[Observation, ...] = (), *, wave: str | None = "wave 1", wanted: int = 12) -> Brief:
    task = find_task("tinytext")
    source = task.editable_path.read_text(encoding="utf-8")
    knobs = read_knobs(source)
    return Brief(
        session="s",
        task=task,
        parent="abc123",
        source=source,
        knobs=knobs,
        ranges=derive_ranges(knobs, task.ranges),
        observations=observations,
        noise=0.02,
        wanted=wanted,
        wave=wave,
        seed=7,
    )


def observed(asked: Brief, changes: list[dict[str, Knob]]) -> tuple[Observation, ...]:
    """Every third crashed; the others gained more the higher the learning rate."""
    found = []
    for number, change in enumerate(changes):
        knobs = {**asked.knobs, **change}
        failed = number % 3 == 2
        found.append(
            Observation(
                experiment=f"s-e{number:03d}",
                wave="wave 1",
                knobs=knobs,
                gain=None if failed else float(knobs["LEARNING_RATE"]),
                outcome="OUT_OF_MEMORY" if failed else "COMPLETED",
            )
        )
    return tuple(found)


async def test_proposals_are_edits_of_the_parent_inside_the_ranges(proposer: Proposer) -> None:
    asked = brief()
    proposals = await proposer.propose(asked)
    assert 1 <= len(proposals) <= asked.wanted
    for proposal in proposals:
        assert proposal.author == proposer.name
        assert proposal.parent == asked.parent
        assert proposal.wave == asked.wave
        assert proposal.changes
        assert read_knobs(proposal.source) == {**asked.knobs, **proposal.changes}
        assert all(in_range(value, asked.ranges[name]) for name, value in proposal.changes.items())
        assert all(name in proposal.hypothesis for name in proposal.changes)


async def test_the_same_brief_gives_the_same_proposals(proposer: Proposer) -> None:
    first = brief()
    later = brief(observed(first, [dict(p.changes) for p in await proposer.propose(first)]), wave="wave 2")
    for asked in (first, later):
        assert await proposer.propose(asked) == await proposer.propose(asked)


async def test_nothing_is_proposed_twice(proposer: Proposer) -> None:
    asked = brief()
    taken: list[dict[str, Knob]] = []
    seen: set[object] = set()
    for number in range(4):
        proposals = await proposer.propose(replace(asked, seed=number, taken=tuple(taken)))
        keys = [configuration({**asked.knobs, **p.changes}, asked.ranges) for p in proposals]
        assert proposals
        assert not seen & set(keys)
        assert len(set(keys)) == len(keys)
        seen |= set(keys)
        taken += [{**asked.knobs, **p.changes} for p in proposals]


async def test_a_gap_is_bridged_with_no_more_than_is_wanted(proposer: Proposer) -> None:
    first = brief()
    seen = observed(first, [dict(p.changes) for p in await proposer.propose(first)])
    proposals = await proposer.propose(replace(brief(seen, wave=None), wanted=2))
    assert len(proposals) == 2
    assert all(proposal.wave is None for proposal in proposals)


async def test_a_space_that_is_used_up_ends_in_silence(proposer: Proposer) -> None:
    asked = replace(brief(), ranges={"TIED_EMBEDDINGS": brief().ranges["TIED_EMBEDDINGS"]})
    (only,) = await proposer.propose(asked)
    assert only.changes == {"TIED_EMBEDDINGS": False}
    assert await proposer.propose(replace(asked, taken=({**asked.knobs, "TIED_EMBEDDINGS": False},))) == []
