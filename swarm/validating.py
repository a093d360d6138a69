"""Validation: candidate and incumbent side by side, pair by pair, and what follows when the incumbent moved meanwhile.

A validation ends against the incumbent it began with. Where its gain is confirmed and another was confirmed before it,
its change goes on top of the new incumbent and the two are validated together; where that fails, the candidate meets
the new incumbent as it is, if it seems better.
"""

import asyncio
from collections.abc import Sequence

from swarm.epilogue import interaction_page
from swarm.errors import SwarmError
from swarm.lab import Lab
from swarm.research import promotion
from swarm.research.experiment import Experiment, Json, Move, Status, Trial
from swarm.research.promotion import Gain, Noise, Validation
from swarm.research.stack import interaction
from swarm.research.state import seeds
from swarm.steps import Steps
from swarm.yardstick import Yardstick

Pairs = Sequence[tuple[Trial, Trial]]


class Validator:
    """Validates promoted experiments; one verdict at a time."""

    def __init__(self, lab: Lab, steps: Steps) -> None:
        self._lab = lab
        self._state = lab.journal.state
        self._steps = steps
        self._yardstick = Yardstick(lab)
        self._deciding = asyncio.Lock()  # two gains over one incumbent are not both gains over the next

    async def validate(self, name: str) -> None:
        """Run a promoted candidate beside the incumbent on the validation tier, pair by pair, until it is decided."""
        looks = self._lab.observer.looks(self._lab.trials.planned_seconds("validate"))
        pairs = looks[0]
        while (experiment := self._state.experiments[name]).status in (Status.PROMOTED, Status.VALIDATING):
            reference = self._state.experiments[experiment.verdict["against"]]
            if experiment.status is Status.PROMOTED and reference.id != self._state.incumbent.id:
                return  # it is reconsidered first
            ran = await self._run_pairs(experiment, reference, pairs)
            async with self._deciding:
                decided = await self._decide(self._state.experiments[name], reference, ran)
            pairs = looks[0] if decided else next(look for look in looks if look > pairs)

    async def restack(self, experiment: Experiment) -> None:
        """Put the change of a stacked experiment on the newest incumbent, which moved before it was validated."""
        async with self._deciding:
            await self._stack(experiment, experiment.verdict["alone"])

    async def _run_pairs(self, experiment: Experiment, reference: Experiment, count: int) -> list[tuple[Trial, Trial]]:
        """(candidate, reference) trials on the first ``count`` validation seeds; known ones are not run again."""
        bid = float(experiment.verdict.get("gain", 0.0)) / max(1.0, self._lab.trials.expected_seconds("validate"))
        kind = await self._yardstick.validation_kind(experiment)
        chosen = seeds(self._lab.settings.seed, "validate", count)
        candidates = [
            self._lab.trials.run(
                experiment,
                "validate",
                seed,
                bid=bid,
                accelerator=kind,
                keep=seed == chosen[0],
                started=lambda: self._steps.begin(experiment.id, Status.PROMOTED, Move.VALIDATE),
            )
            for seed in chosen
        ]
        references = [self._lab.trials.run(reference, "validate", seed, bid=bid, accelerator=kind) for seed in chosen]
        trials = await asyncio.gather(*candidates, *references)
        return list(zip(trials[:count], trials[count:], strict=True))

    async def _decide(self, experiment: Experiment, reference: Experiment, ran: Pairs) -> bool:
        """Confirm, refute, stack, or ask for more pairs (False)."""
        broken = next((candidate for candidate, _ in ran if not candidate.completed), None)
        if broken is not None:
            told = f"{broken.outcome}: {broken.message}"
            if not await self._left_the_stack(experiment, reference, told):
                await self._steps.over(experiment, Move.CRASH, (told,))
            return True
        gain, noise = self._measured(experiment, ran)
        settings = self._lab.settings.promotion
        test = self._state.validations + 1
        alpha = promotion.allowance(test, self._state.confirmed_tests, settings.alpha)
        said = promotion.validate(
            gain, alpha=alpha, steps=self._lab.observer.looks(self._lab.trials.planned_seconds("validate"))
        )
        if said is Validation.UNDECIDED:
            return False
        numbers = verdict(gain, noise, against=reference.id, alpha=alpha, test=test)
        told = told_gain(gain, f"{self._lab.task.metric} over {reference.id}")
        if said is Validation.CONFIRMED and reference.id != self._state.incumbent.id:
            reached = {"candidate": experiment.candidate, "parent": experiment.parent, "se": gain.se}
            await self._stack(experiment, {**numbers, **reached})
            return True
        alone = experiment.verdict.get("alone")
        if alone is not None:
            numbers |= {"alone": alone}
            told += f"; alone it gained {alone['gain']:+.4f} over {alone['against']}"
            await self._interaction(experiment, gain)
        if said is Validation.CONFIRMED:
            moved = await self._steps.over(experiment, Move.CONFIRM, (told,), numbers)
            await asyncio.to_thread(self._lab.lineage.set_best, moved.candidate)
        elif not await self._left_the_stack(experiment, reference, told):
            await self._steps.over(experiment, Move.REFUTE, (told,), numbers)
        return True

    def _measured(self, experiment: Experiment, ran: Pairs) -> tuple[Gain, Noise]:
        noise = self._state.noise("validate", ran[0][0].accelerator)
        values = alike(ran)
        if noise is None or not values:
            raise SwarmError(f"{experiment.id} has no pair of runs on one accelerator type; see `swarm leases`")
        return promotion.paired_gain(values, noise, minimize=self._lab.observer.minimize), noise

    # ---- two gains over one incumbent -----------------------------------------------------------------------

    async def _stack(self, experiment: Experiment, alone: Json) -> None:
        """Put a change whose gain over an older incumbent is confirmed on top of the present one; where it does not
        apply, the candidate meets the present one as it is. ``alone``: the verdict, and what it was reached on.
        """
        incumbent = self._state.incumbent
        shown = f"{alone['gain']:+.4f} {self._lab.task.metric} over {alone['against']} is confirmed"
        source, fault = await self._steps.on_top(
            experiment.changes, base=alone["parent"], theirs=alone["candidate"], incumbent=incumbent
        )
        twin = None if source is None else await self._steps.claim(source, experiment.id)
        if source is None or twin is not None:
            why = fault if twin is None else f"on top of {incumbent.id} it is the same file as {twin}"
            await self._meet(experiment, alone, (f"{shown}; {why}: it meets {incumbent.id} as it is",))
            return
        commit = await self._steps.keep(experiment.id, source, experiment.hypothesis, parent=incumbent.candidate)
        await self._lab.journal.move(
            experiment,
            Move.STACK,
            reasons=(f"{shown}: put on top of {incumbent.id}, to be confirmed together",),
            verdict={"tier": "validate", "gain": alone["gain"], "against": incumbent.id, "alone": dict(alone)},
            candidate=commit,
            parent=incumbent.candidate,
        )

    async def _meet(self, experiment: Experiment, alone: Json, reasons: tuple[str, ...]) -> None:
        """Let the candidate of before the stack be validated against the present incumbent."""
        await self._lab.journal.move(
            experiment,
            Move.STACK,
            reasons=reasons,
            verdict={"tier": "validate", "gain": alone["gain"], "against": self._state.incumbent.id},
            candidate=alone["candidate"],
            parent=alone["parent"],
        )

    async def _left_the_stack(self, experiment: Experiment, reference: Experiment, told: str) -> bool:
        """Whether a candidate that failed on top of another goes on by itself, because so it seems better than that."""
        alone = experiment.verdict.get("alone")
        if alone is None:
            return False
        own = {t.seed: t for t in experiment.trials if t.candidate == alone["candidate"] and t.tier == "validate"}
        others = reference.completed("validate")
        pairs = alike([(own[other.seed], other) for other in others if other.seed in own])
        sign = 1.0 if self._lab.observer.minimize else -1.0
        if sum(sign * (theirs - ours) for ours, theirs in pairs) <= 0:
            return False
        await self._meet(experiment, alone, (f"on top of {reference.id}: {told}; it meets it as it is",))
        return True

    async def _interaction(self, experiment: Experiment, together: Gain) -> None:
        """Write down where two gains do not add up."""
        said = experiment.verdict["alone"]
        alone = Gain(mean=said["gain"], se=said["se"], df=said["noise_df"], n=said["n"])
        found = interaction(together, alone)
        low, high = found.interval()
        if low <= 0 <= high:
            return
        await interaction_page(self._lab.scribe, experiment, together=together, alone=said, found=found)


def alike(ran: Pairs) -> list[tuple[float, float]]:
    """The values of those pairs that have two, on one accelerator type."""
    return [
        (ours.value, theirs.value)
        for ours, theirs in ran
        if ours.value is not None and theirs.value is not None and ours.accelerator == theirs.accelerator
    ]


def verdict(gain: Gain, noise: Noise, *, against: str, alpha: float, test: int) -> dict[str, object]:
    """The numbers behind a decision of the validation tier, as the ledger keeps them."""
    return {
        "tier": "validate",
        "gain": gain.mean,
        "ci95": list(gain.interval()),
        "n": gain.n,
        "against": against,
        "alpha": alpha,
        "noise_sd": noise.sd,
        "noise_df": noise.df,
        "test": test,
    }


def told_gain(gain: Gain, over: str) -> str:
    """A validated gain in words; ``over``: metric and reference."""
    low, high = gain.interval()
    return f"validated gain {gain.mean:+.4f} [{low:+.4f}, {high:+.4f}] {over}"
