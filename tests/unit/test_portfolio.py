"""Who proposes: shares by worth with a floor, thoughts that keep nobody waiting, a hybrid's overrides."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.agents.hybrid import HybridProposer, overridden
from swarm.agents.portfolio import Portfolio
from swarm.errors import ModelMisused, ModelUnavailable, SwarmError
from swarm.ports import Brief, Observation
from swarm.research.experiment import Proposal
from swarm.research.picture import picture
from swarm.research.portfolio import Tried, shares, worth
from tests.fakes import FakeClock
from tests.fakes.endpoint import endpoint, prompt_of, says
from tests.thinking_lab import TRAIN, thinking_lab
from trainer.contract import Range


def tried(author: str, gains: Sequence[float | None], seconds: float = 10.0) -> list[Tried]:
    return [Tried(author=author, gain=gain, seconds=seconds) for gain in gains]


def test_worth_is_hits_and_what_they_cost() -> None:
    seen = tried("good", [0.5, 0.4, None]) + tried("poor", [0.0] * 7)
    assert worth(["good", "poor", "new"], seen) == {"good": (2, 30.0), "poor": (0, 70.0), "new": (0, 0.0)}


def test_slots_go_to_what_was_worth_most_and_everyone_keeps_a_floor() -> None:
    seen = tried("good", [0.5] * 20) + tried("poor", [0.0] * 80)
    given: Counter[str] = Counter()
    for seed in range(100):
        share = shares(["good", "poor"], seen, 12, seed)
        assert sum(share.values()) == 12
        assert min(share.values()) >= 1
        given.update(share)
    assert given["good"] > 4 * given["poor"]


def test_a_dear_proposer_gets_less_than_a_cheap_one_of_the_same_luck() -> None:
    seen = tried("dear", [0.5, 0.0] * 20, seconds=50.0) + tried("cheap", [0.5, 0.0] * 20, seconds=5.0)
    given: Counter[str] = Counter()
    for seed in range(50):
        given.update(shares(["dear", "cheap"], seen, 10, seed))
    assert given["cheap"] > 2 * given["dear"]


# ---- the portfolio at work ----------------------------------------------------------------------------------


def proposal(author: str, number: int) -> Proposal:
    return Proposal(author=author, hypothesis=f"{author} {number}", parent="base", source=f"{TRAIN}# {author} {number}")


class Rule:
    name = "proposer"

    async def propose(self, brief: Brief) -> list[Proposal]:
        return [proposal(self.name, number) for number in range(brief.wanted)]


class Slow:
    """A thinker that thinks until it is told to stop."""

    name = "proposer-llm"

    def __init__(self, *outcomes: list[Proposal] | SwarmError) -> None:
        self.outcomes = list(outcomes)
        self.go = asyncio.Event()
        self.asked = self.delivered = self.given_up = 0

    async def propose(self, brief: Brief) -> list[Proposal]:
        self.asked += 1
        await self.go.wait()
        outcome = self.outcomes[0]
        if isinstance(outcome, SwarmError):
            raise outcome
        return outcome

    async def deliver(self) -> None:
        self.delivered += 1
        self.outcomes.pop(0)

    async def give_up(self) -> None:
        self.given_up += 1
        self.outcomes.pop(0)


@pytest.fixture
def told() -> list[str]:
    return []


def portfolio(slow: Slow, told: list[str], clock: FakeClock, *, shares_slots: bool = True) -> Portfolio:
    async def tell(author: str, line: str) -> None:
        told.append(f"{author} {line}")

    return Portfolio(Rule(), [slow], shares_slots=shares_slots, clock=clock, tell=tell)


@pytest.fixture
def brief(tmp_path: Path) -> Brief:
    with thinking_lab(tmp_path) as lab:
        return lab.brief(wanted=8)


async def test_nobody_waits_for_a_thought(brief: Brief, told: list[str]) -> None:
    slow = Slow([proposal("proposer-llm", 1)])
    both = portfolio(slow, told, FakeClock())
    first = await both.propose(brief)
    assert {one.author for one in first} == {"proposer"}
    assert len(first) == 8
    slow.go.set()
    await asyncio.sleep(0)
    second = await both.propose(brief)
    assert Counter(one.author for one in second) == {"proposer": 7, "proposer-llm": 1}
    assert slow.delivered == 0  # not on record before somebody asks again
    slow.outcomes.append([proposal("proposer-llm", 2)])
    await both.propose(brief)
    assert slow.delivered == 1
    await both.close()


async def test_alone_it_is_waited_for(brief: Brief, told: list[str]) -> None:
    slow = Slow([proposal("proposer-llm", 1)])
    slow.go.set()
    found = await portfolio(slow, told, FakeClock(), shares_slots=False).propose(brief)
    assert [one.author for one in found] == ["proposer-llm"]


async def test_an_endpoint_that_is_down_is_left_alone_for_a_while(brief: Brief, told: list[str]) -> None:
    clock, slow = FakeClock(), Slow(ModelUnavailable("nobody there"))
    slow.go.set()
    alone = portfolio(slow, told, clock, shares_slots=False)
    assert len(await alone.propose(brief)) == 8  # the rule stands in
    assert told == ["proposer-llm rests for 60 s: nobody there"]
    await alone.propose(brief)
    assert slow.asked == 1
    clock.advance(61)
    await alone.propose(brief)
    assert (slow.asked, told[1]) == (2, "proposer-llm rests for 120 s: nobody there")


async def test_while_one_rests_the_other_is_waited_for(brief: Brief, told: list[str]) -> None:
    async def tell(author: str, line: str) -> None:
        told.append(f"{author} {line}")

    useless, slow = Slow(SwarmError("refused twice")), Slow([proposal("proposer-coder", 1)])
    useless.go.set()
    slow.name = "proposer-coder"
    both = Portfolio(Rule(), [useless, slow], shares_slots=False, clock=FakeClock(), tell=tell)
    asked = asyncio.create_task(both.propose(brief))
    while not told:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not asked.done()
    slow.go.set()
    assert [one.author for one in await asked] == ["proposer-coder"]
    assert slow.asked == useless.asked == 1


async def test_what_can_never_work_is_told_once(brief: Brief, told: list[str]) -> None:
    slow = Slow(ModelMisused("bad key"))
    slow.go.set()
    alone = portfolio(slow, told, FakeClock(), shares_slots=False)
    for _ in range(3):
        assert len(await alone.propose(brief)) == 8
    assert (slow.asked, told) == (1, ["proposer-llm proposes no more: bad key"])


async def test_a_thought_of_no_use_is_given_up(brief: Brief, told: list[str]) -> None:
    slow = Slow(SwarmError("refused twice"))
    slow.go.set()
    await portfolio(slow, told, FakeClock(), shares_slots=False).propose(brief)
    assert slow.given_up == 1
    assert "nothing usable: refused twice" in told[0]


# ---- the hybrid --------------------------------------------------------------------------------------------


def test_about_three_in_ten_are_overridden() -> None:
    counts = [overridden(4, seed) for seed in range(500)]
    assert set(counts) == {1, 2}
    assert sum(counts) / 2000 == pytest.approx(0.3, abs=0.03)


def observations() -> tuple[Observation, ...]:
    good = [
        Observation(
            experiment=f"e{n}",
            wave=None,
            knobs={"X": 2.0 + n / 10, "RATE": 0.1 + n / 100},
            gain=0.5 + n / 10,
            outcome="COMPLETED",
        )
        for n in range(8)
    ]
    lost = Observation(experiment="e9", wave=None, knobs={"X": 9.5, "RATE": 0.1}, gain=None, outcome="CRASHED")
    return (*good, lost)


def test_the_picture_shows_where_the_good_lie_and_where_they_fail() -> None:
    ranges = {"X": Range(low=0.0, high=10.0), "RATE": Range(low=0.01, high=1.0, log=True)}
    told = picture(observations(), ranges, {"X": 1.0, "RATE": 0.1})
    assert "X: mean 2.6, sd 0.1" in told
    assert "RATE: geometric mean 0.1598, spread x1.06" in told
    assert "X and RATE: +1.00" in told
    assert "X: failed at 9.5; worked from 2 to 2.7" in told
    assert "e9: CRASHED with X=9.5" in told


async def test_a_hybrid_keeps_the_majority_and_shows_the_state(tmp_path: Path) -> None:
    class Optimizer(Rule):
        async def propose(self, brief: Brief) -> list[Proposal]:
            assert all(o.gain is None or o.gain < 10 for o in brief.observations)  # a failure is no huge score
            return [
                replace(
                    proposal(self.name, number),
                    changes={"X": float(number)},
                    source=TRAIN.replace("1.0", f"{number}.5"),
                )
                for number in range(brief.wanted)
            ]

    idea = {
        "hypothesis": "X = 2.7 and RATE together",
        "settings": [{"name": "X", "value": 2.7}, {"name": "RATE", "value": 0.2}],
        "edits": [],
        "expected_gain": None,
        "why_new": "",
        "cites": [],
    }
    with thinking_lab(tmp_path) as lab, endpoint([says({"wave": None, "experiments": [idea]})]) as server:
        hybrid = HybridProposer(Optimizer(), lab.mind(server, "proposer-hybrid"), lab.notebook, {}, session="s")
        found = await hybrid.propose(lab.brief(wanted=4, observations=observations()))
    assert {one.author for one in found} == {"proposer-hybrid"}
    assert len(found) == 4
    assert found[-1].changes == {"X": 2.7, "RATE": 0.2}
    assert {one.changes["X"] for one in found[:-1]} < {0.0, 1.0, 2.0, 3.0}  # three of the optimiser's own
    asked = prompt_of(server.requests[0])
    assert "X: geometric mean 2.599" in asked
    assert "X: failed at 9.5" in asked
    assert "proposer 3" in asked  # what it may override
