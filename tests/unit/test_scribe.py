"""What the notebook's pages about experiments state: under which conditions, how sure, on which grounds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_store.entry import Citation, Entry, Kind, Relation
from notebook_store.notebook import Notebook
from swarm.research.experiment import Experiment, Review, ReviewVerdict, Status, Trial
from swarm.research.promotion import Noise
from swarm.scribe import Scribe
from tests.fake_embedder import WordEmbedder
from tests.fakes import FakeClock
from tests.lab import TASK, TRAIN
from trainer.contract import Budget, load_task

PAPER = Citation(source="arXiv:1706.02677", title="Large minibatch", quote="a gradual warmup", page=3)


def trial(number: int, tier: str, accelerator: str, value: float | None) -> Trial:
    return Trial(id=f"t{number}", experiment="s-e001", candidate="c1", tier=tier, slot="x", accelerator=accelerator,
                 seed=number, token=1, started_at=0.0, ended_at=1.0, outcome="COMPLETED" if value else "CRASHED",
                 value=value, peak_memory_mb=2048.0)  # fmt: skip


def experiment(name: str, status: Status, trials: tuple[Trial, ...] = (), x: float = 2.0) -> Experiment:
    return Experiment(id=name, status=status, author="proposer", hypothesis=f"X 1→{x} lowers loss", parent="c0",
                      candidate="c1", changes={"X": x}, expected_gain=0.1, citations=("claim-x", "gone"), wave=None,
                      created_at=0.0, trials=trials)  # fmt: skip


@pytest.fixture
def scribe(tmp_path: Path) -> Iterator[Scribe]:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "task.toml").write_text(TASK)
    (folder / "train.py").write_text(TRAIN)
    with Notebook.open(tmp_path / "notebook", embedder=WordEmbedder()) as notebook:
        notebook.append(Entry(id="claim-x", kind=Kind.CLAIM, title="X matters", body="", author="reader", session="s",
                              task="bowl", created_at=0.0, citations=(PAPER,)))  # fmt: skip
        yield Scribe(
            notebook,
            session="s",
            task=load_task(folder),
            budgets={"screen": Budget(kind="wall", amount=7.0), "validate": Budget(kind="wall", amount=20.0)},
            noise=lambda tier, accelerator: Noise(sd=0.02, df=10) if accelerator == "H100" else None,
            clock=FakeClock(),
        )


async def test_a_result_states_its_conditions_its_interval_and_its_grounds(scribe: Scribe) -> None:
    trials = (trial(1, "screen", "H100", 2.5), trial(2, "screen", "H100", 2.6), trial(3, "screen", "A100", 9.0))
    await scribe.result(experiment("s-e001", Status.PRUNED, trials))
    page = scribe.notebook.entries(kinds=[Kind.RESULT])[0]
    said = page.data
    assert (said["hardware"], said["budget"], said["n"], said["tier"]) == (["H100"], "7 wall", 2, "screen")
    assert said["score"] == pytest.approx(2.55)
    # Student's t at .975 with 10 degrees of freedom is 2.228.
    half = 2.228 * 0.02 / 2**0.5
    assert said["ci95"] == pytest.approx([2.55 - half, 2.55 + half], abs=1e-4)
    assert page.citations == (PAPER,)
    links = [(link.kind, link.target) for link in page.links]
    assert (Relation.CITES, "claim-x") in links
    assert (Relation.CITES, "gone") in links
    assert "n=2 on H100" in page.body


async def test_without_a_score_there_is_no_number(scribe: Scribe) -> None:
    await scribe.result(experiment("s-e001", Status.CRASHED, (trial(1, "screen", "A100", None),)))
    said = scribe.notebook.entries(kinds=[Kind.RESULT])[0].data
    assert [said[name] for name in ("score", "ci95", "budget", "n")] == [None, None, None, 0]
    assert said["hardware"] == ["A100"]


async def test_a_score_without_measured_noise_has_no_interval(scribe: Scribe) -> None:
    await scribe.result(experiment("s-e001", Status.PRUNED, (trial(1, "screen", "A100", 2.5),)))
    assert scribe.notebook.entries(kinds=[Kind.RESULT])[0].data["ci95"] is None


async def test_a_review_shows_what_came_of_what_was_tried_near(scribe: Scribe) -> None:
    tried = experiment("s-e001", Status.PRUNED, (trial(1, "screen", "H100", 2.5),))
    await scribe.hypothesis(tried, "diff")
    await scribe.result(tried)
    close = experiment("s-e002", Status.PROPOSED, x=2.1)
    await scribe.hypothesis(close, "diff")
    await scribe.review(close, Review(verdict=ReviewVerdict.APPROVED, reasons=("fine",)), author="reviewer")
    page = scribe.notebook.get("s-e002-review")
    (near,) = page.data["near"]  # type: ignore[misc]  # a list, as the scribe wrote it
    assert (near["experiment"], near["outcome"]) == ("s-e001", "PRUNED")
    assert near["distance"] == pytest.approx(0.0212, abs=1e-3)
    assert "- near: s-e001 (configuration 0.02 apart" in page.body
    assert "PRUNED: X 1→2.0 lowers loss" in page.body


async def test_the_claim_an_experiment_rests_on_leads_to_what_came_of_it(scribe: Scribe) -> None:
    tried = experiment("s-e001", Status.PRUNED, (trial(1, "screen", "H100", 2.5),))
    await scribe.hypothesis(tried, "diff")
    await scribe.result(tried)
    (found,) = scribe.notebook.tried("claim-x")
    assert (found.hypothesis.id, found.outcome) == ("s-e001-hypothesis", "PRUNED")
    result = found.came[-1]
    assert "claim-x" in [page.id for _, page in scribe.notebook.grounds(result.id)]
