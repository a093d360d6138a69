"""Whatever the cluster and the limit: once a budget is used up nothing new starts, so that it is overshot by what the
running trials still take and by nothing else. Virtual time.
"""

import random
from contextlib import closing
from pathlib import Path

import pytest

from swarm.bench.simulation import Scenario, simulated
from swarm.config import Limits, Settings
from swarm.executors.simulated import Machines, Score, world
from swarm.leases.lease import Span
from swarm.ports import Brief, Slot, TrialOrder
from swarm.research.experiment import Proposal
from swarm.research.ledger import Kind, Ledger
from tests.lab import TASK, TRAIN, Script, bench, bowl
from trainer.contract import load_task

TOKENS = 700  # that a call for proposals costs


def objective(order: TrialOrder) -> Score:
    return Score(value=bowl(order.source) + 0.001 * (order.seed * 7919 % 13 - 6), holdout=bowl(order.source))


def used_at(spans: list[Span], prices: dict[str, float], moment: float) -> float:
    """What had been used by then, in the unit of ``prices`` an hour."""
    return sum(max(0.0, min(span.end, moment) - span.start) / 3600 * prices[span.slot] for span in spans)


@pytest.mark.parametrize("dollars", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_no_trial_begins_once_slots_have_used_up_the_budget(tmp_path: Path, seed: int, dollars: bool) -> None:
    chance = random.Random(seed)
    prices = [chance.choice([0.5, 2.0, 3.5]) for _ in range(chance.randint(1, 6))]
    trials = chance.uniform(3.0, 30.0)  # that the budget is for
    slots = [Slot(name=f"slot-{n}", accelerator="H100", price_per_hour=price) for n, price in enumerate(prices)]
    rates = {slot.name: slot.price_per_hour if dollars else 1.0 for slot in slots}
    budget = trials * 10 / 3600 * (sum(rates.values()) / len(rates))  # some 10 s a trial
    limits = Limits(hours=None, dollars=budget) if dollars else Limits(hours=None, gpu_hours=budget)
    machines = Machines(overhead_seconds=4.0, overhead_sd=1.0, preemptions_per_hour=20.0, seed=seed)
    task = tmp_path / "bowl"
    task.mkdir()
    (task / "train.py").write_text(TRAIN)
    (task / "task.toml").write_text(TASK)
    scenario = Scenario(
        task=load_task(task),
        settings=Settings(limits=limits),
        slots=slots,
        world=world(objective, machines),
        team=lambda _: Script(),
    )
    with simulated(scenario, tmp_path / "home") as simulation:
        reason = simulation.run()
        spans = simulation.leases.spans("simulation")
        used = simulation.leases.used("simulation")
    assert ("are spent" if dollars else "GPU-hours are used") in reason
    begun = max(span.start for span in spans if span.end > span.start)  # others were given back at once
    assert used_at(spans, rates, begun) < budget, "a trial began when nothing was left"
    total = used_at(spans, rates, max(span.end for span in spans))
    running = sum((span.end - begun) / 3600 * rates[span.slot] for span in spans if span.end > begun)
    assert total - budget <= running
    assert total == pytest.approx(sum(use.dollars if dollars else use.seconds / 3600 for use in used))


@pytest.mark.parametrize("slots", [1, 4])
def test_no_trial_begins_once_the_models_have_used_up_the_tokens(tmp_path: Path, slots: int) -> None:
    class Thinking(Script):
        async def propose(self, brief: Brief) -> list[Proposal]:
            found = await super().propose(brief)
            cost = {"author": "proposer-llm", "prompt_tokens": TOKENS, "completion_tokens": 0, "dollars": 0.0}
            assert self.journal is not None
            await self.journal.record(Kind.MODEL_ASKED, f"call-{self.made}", {**cost, "estimated": False})
            return found

    limit = 3 * TOKENS
    lab = bench(tmp_path, limits=Limits(hours=None, tokens=limit), slots=slots)
    lab.script = Thinking()
    reason, session = lab.worked()
    assert reason == f"the {limit:,} tokens are used"
    with closing(Ledger(tmp_path / "ledger.db")) as ledger:
        events = list(ledger.events("bowl-1"))
    tokens, used = 0, []
    for event in events:
        tokens += TOKENS if event.kind is Kind.MODEL_ASKED else 0
        if event.kind is Kind.TRIAL_STARTED:
            used.append(tokens)
    assert max(used) < limit, "a trial began when nothing was left"
    assert session.pace.budget.spent.tokens == tokens < limit + TOKENS
    assert not session.state.live_trials
