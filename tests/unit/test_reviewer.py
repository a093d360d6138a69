"""The rule-based reviewer stops what would waste a slot, and says why."""

import pytest

from swarm.agents.reviewer import ReviewContext, RuleReviewer, escapes, predicted_peak
from swarm.ports import Observation
from swarm.research.experiment import Knob, Proposal, Review, ReviewVerdict
from swarm.research.knobs import set_knobs
from trainer.contract import Range, find_task

PARENT = 'import torch\nLR = 0.003\nWIDTH = 64\nNAME = "adamw"\nSEED = 1\n'
RANGES = {
    "LR": Range(low=1e-4, high=1e-1, log=True),
    "WIDTH": Range(low=16, high=256, log=True, integer=True),
    "NAME": Range(choices=("adamw", "muon")),
}
KNOBS: dict[str, Knob] = {"LR": 0.003, "WIDTH": 64, "NAME": "adamw"}


def proposal(changes: dict[str, Knob], source: str | None = None) -> Proposal:
    edited = set_knobs(PARENT, changes) if source is None else source
    return Proposal(author="proposer", hypothesis="an idea about it", parent="abc", source=edited, changes=changes)


def observation(
    name: str, changes: dict[str, Knob], outcome: str = "COMPLETED", peak: float | None = None
) -> Observation:
    gain = 0.0 if outcome == "COMPLETED" else None
    knobs = {**KNOBS, **changes}
    return Observation(experiment=name, wave=None, knobs=knobs, gain=gain, outcome=outcome, peak_memory_mb=peak)


async def judged(what: Proposal, **context: object) -> Review:
    told = ReviewContext(parent_source=PARENT, ranges=RANGES, **context)  # type: ignore[arg-type]  # keywords of the test
    return await RuleReviewer().review(what, told)


async def test_a_sound_proposal_is_approved() -> None:
    review = await judged(proposal({"LR": 0.01}))
    assert review.verdict is ReviewVerdict.APPROVED
    assert "compiles" in review.reasons[0]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("LR = (", "does not compile"),
        (PARENT, "nothing but comments"),
        (PARENT + "# a comment\n", "nothing but comments"),
        (PARENT.replace("SEED = 1", "SEED = 2"), "random seed"),
        (PARENT + "import subprocess\n", "imports subprocess"),
        (PARENT + "from os import system\n", "imports os.system"),
        (PARENT + "import os\nos.popen('ls')\n", "uses os.popen"),
        (PARENT + "x = eval('1')\n", "uses eval"),
        (PARENT + "x = ().__class__.__base__.__subclasses__()\n", "reaches for __subclasses__"),
        (PARENT + "x = open('data/holdout.bin')\n", "names 'holdout'"),
        (PARENT + "from trainer import judge\n", "imports trainer.judge"),
        (PARENT + "import trainer.judge\n", "imports trainer.judge"),
    ],
)
async def test_bad_edits_are_rejected(source: str, reason: str) -> None:
    review = await judged(proposal({}, source))
    assert review.verdict is ReviewVerdict.REJECTED
    assert any(reason in said for said in review.reasons), review.reasons


async def test_what_the_parent_does_already_is_no_reason() -> None:
    parent = PARENT + "import subprocess\n"
    edit = Proposal(
        author="p", hypothesis="h", parent="a", source=parent.replace("0.003", "0.01"), changes={"LR": 0.01}
    )
    review = await RuleReviewer().review(edit, ReviewContext(parent_source=parent, ranges=RANGES))
    assert review.verdict is ReviewVerdict.APPROVED


def test_the_built_in_task_keeps_to_the_policy() -> None:
    assert escapes(find_task("tinytext").editable_path.read_text(encoding="utf-8")) == set()


async def test_ranges_and_duplicates_are_kept() -> None:
    review = await judged(proposal({"LR": 1.0}), duplicate="s-e004")
    assert review.verdict is ReviewVerdict.REJECTED
    assert any("outside the task's range (0.0001 to 0.1)" in said for said in review.reasons)
    assert any("s-e004" in said for said in review.reasons)


async def test_a_step_is_taken_only_once_reading_found_nothing() -> None:
    taken: list[str] = []
    said = "one step of it ended CRASHED: no such width"

    async def preflight(source: str) -> str | None:
        taken.append(source)
        return said if "WIDTH = 96" in source else None

    assert (await judged(proposal({"LR": 0.01}), preflight=preflight)).verdict is ReviewVerdict.APPROVED
    crashed = await judged(proposal({"WIDTH": 96}), preflight=preflight)
    assert (crashed.verdict, crashed.reasons) == (ReviewVerdict.REJECTED, (said,))
    await judged(proposal({"LR": 1.0}), preflight=preflight)
    assert len(taken) == 2


async def test_memory_is_predicted_from_past_trials() -> None:
    seen = [
        observation(f"e{i}", {"WIDTH": width, "LR": 0.001 * (i + 1)}, peak=300.0 * width / 16)
        for i, width in enumerate([16, 24, 32, 48, 64, 96] * 3)
    ]
    assert predicted_peak({**KNOBS, "WIDTH": 128}, seen) == pytest.approx(300 * 128 / 16, rel=0.25)
    assert predicted_peak(KNOBS, seen[:11]) is None
    wide = await judged(proposal({"WIDTH": 256}), observations=seen, memory_mb=2500)
    assert wide.verdict is ReviewVerdict.REJECTED
    assert "memory peak" in wide.reasons[0]
    slim = await judged(proposal({"WIDTH": 32}), observations=seen, memory_mb=2500)
    assert slim.verdict is ReviewVerdict.APPROVED


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"WIDTH": 128}, ReviewVerdict.REJECTED),
        ({"WIDTH": 256, "LR": 0.01}, ReviewVerdict.REJECTED),
        ({"WIDTH": 96}, ReviewVerdict.APPROVED),
        ({"LR": 0.01}, ReviewVerdict.APPROVED),
        ({"WIDTH": 32}, ReviewVerdict.APPROVED),
    ],
)
async def test_what_ran_out_of_memory_is_not_pushed_further(changes: dict[str, Knob], verdict: ReviewVerdict) -> None:
    review = await judged(proposal(changes), observations=[observation("e1", {"WIDTH": 128}, "OUT_OF_MEMORY")])
    assert review.verdict is verdict
