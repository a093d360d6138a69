"""Takes the incumbent apart: each kept change removed in turn, its worth told, what is worth nothing taken out."""

import asyncio
import hashlib
from collections.abc import Sequence

from swarm.epilogue import ablation_page
from swarm.lab import Lab
from swarm.lifecycle import Lifecycle
from swarm.research import promotion
from swarm.research.experiment import Experiment, Knob, Move, Proposal, Status, Trial
from swarm.research.knobs import read_knobs, set_knobs
from swarm.research.ledger import Kind
from swarm.research.promotion import Gain, Noise, Validation
from swarm.research.stack import ABLATION, Change, Worth, as_good, idle_sets, kept_changes, reverted, taken_apart
from swarm.research.state import seeds
from swarm.validating import alike, told_gain, verdict
from swarm.yardstick import REFERENCE_BID, Yardstick


class Ablation:
    """Runs variants of the incumbent with less in them. Each step may be taken twice."""

    def __init__(self, lab: Lab, lifecycle: Lifecycle) -> None:
        self._lab = lab
        self._state = lab.journal.state
        self._steps = lifecycle.steps
        self._yardstick = Yardstick(lab)
        self._pairs = 0  # validation seeds of each variant

    async def take_apart(self, pairs: int) -> None:
        """Tell what each kept change of the incumbent is worth on ``pairs`` validation seeds, and make a candidate
        that is as good with less the incumbent.
        """
        incumbent, self._pairs = taken_apart(self._state), pairs
        variants: dict[str, tuple[Change, str, Experiment]] = {}
        for change in kept_changes(self._state, incumbent):
            if (found := await self._without(incumbent, [change])) is not None:
                variants[change.name] = (change, *found)
        measured = await asyncio.gather(*(self._gain(incumbent, variant) for _, _, variant in variants.values()))
        worths, failed = [], []
        for (name, (_, told, variant)), gain in zip(variants.items(), measured, strict=True):
            if gain is None:
                failed.append(name)
            else:
                worths.append(Worth(name=name, told=told, gain=gain, experiment=variant.id))
        chosen, tried = None, [worth.name for worth in worths if worth.idle]
        for some in idle_sets(worths):
            chosen = await self._simplified(incumbent, [variants[worth.name][0] for worth in some])
            if chosen is not None:
                break
        await self._write(incumbent, worths, failed=failed, tried=tried, chosen=chosen)

    async def _without(
        self, incumbent: Experiment, changes: Sequence[Change], *, reuse: bool = True
    ) -> tuple[str, Experiment] | None:
        """The incumbent without some changes: told for a person, and as an experiment, where ``reuse`` says so one
        that was validated; None where it cannot be.
        """
        ours = await self._text(incumbent.candidate)
        told, source = await self._taken_back(ours, changes)
        if source is None or source == ours:
            return None
        names = ", ".join(change.name for change in changes)
        known = (await self._lab.observer.files()).get(hashlib.sha256(source.encode()).hexdigest())
        if known is not None and reuse and self._state.experiments[known].completed("validate"):
            return told, self._state.experiments[known]
        proposal = Proposal(
            author=ABLATION,
            hypothesis=f"{incumbent.id} without {told} is as good",
            parent=incumbent.candidate,
            source=source,
            changes=_moved(ours, source),
            origin=f"ablation of {incumbent.id}: {names}",
        )
        variant, _ = await self._steps.file(proposal, Status.ABLATION)
        diff = await asyncio.to_thread(self._lab.lineage.diff, incumbent.candidate, variant.candidate)
        await self._lab.scribe.hypothesis(variant, diff)
        return told, variant

    async def _taken_back(self, ours: str, changes: Sequence[Change]) -> tuple[str, str | None]:
        """What is taken back, in words, and the file without it; None where a later edit stands on it."""
        base = read_knobs(await self._text(self._state.baseline.candidate))
        told: list[str] = []
        source: str | None = ours
        for change in changes:
            if change.before is None or change.after is None or source is None:
                continue
            before, after = await self._text(change.before), await self._text(change.after)
            source = await asyncio.to_thread(self._lab.lineage.merge, after, source, before)
            told.append(f"the edit of {change.name}")
        if source is None:
            return "", None
        knobs = read_knobs(source)
        constants = reverted(changes, knobs, base)
        told += [f"{name} {base[name]} → {knobs[name]}" for name in constants]
        return " and ".join(told), set_knobs(source, constants)

    async def _gain(self, incumbent: Experiment, variant: Experiment) -> Gain | None:
        """What the incumbent gains over a variant, on the same seeds; None where the variant does not run."""
        ran = await self._beside(incumbent, variant)
        if not all(theirs.completed for _, theirs in ran) or not (values := alike(ran)):
            return None
        return promotion.paired_gain(values, self._noise(ran), minimize=self._lab.observer.minimize)

    async def _beside(self, one: Experiment, other: Experiment) -> list[tuple[Trial, Trial]]:
        chosen = seeds(self._lab.settings.seed, "validate", self._pairs)
        kind = await self._yardstick.validation_kind(self._state.incumbent)
        trials = await asyncio.gather(
            *(
                self._lab.trials.run(each, "validate", seed, bid=REFERENCE_BID, accelerator=kind)
                for seed in chosen
                for each in (one, other)
            )
        )
        return list(zip(trials[::2], trials[1::2], strict=True))

    def _noise(self, ran: Sequence[tuple[Trial, Trial]]) -> Noise:
        noise = self._state.noise("validate", ran[0][0].accelerator)
        assert noise is not None  # an incumbent that was confirmed has been measured against it
        return noise

    async def _simplified(
        self, incumbent: Experiment, changes: Sequence[Change]
    ) -> tuple[Experiment, list[str]] | None:
        """The incumbent without these changes as the new incumbent, where it is as good and still a confirmed gain."""
        found = await self._without(incumbent, changes, reuse=False)
        if found is None:
            return None
        told, variant = found
        if variant.status is Status.CONFIRMED:  # by a run that died before it could say so
            return variant, [change.name for change in changes]
        lost = await self._gain(incumbent, variant)
        if lost is None or not as_good(Gain(mean=-lost.mean, se=lost.se, df=lost.df, n=lost.n)):
            return None
        ran = await self._beside(variant, self._state.baseline)
        noise = self._noise(ran)
        gain = promotion.paired_gain(alike(ran), noise, minimize=self._lab.observer.minimize)
        test = self._state.validations + 1
        alpha = promotion.allowance(test, self._state.confirmed_tests, self._lab.settings.promotion.alpha)
        if promotion.validate(gain, alpha=alpha, steps=[gain.n]) is not Validation.CONFIRMED:
            return None
        metric, base = self._lab.task.metric, self._state.baseline.id
        moved = await self._steps.over(
            variant,
            Move.CONFIRM,
            (
                f"without {told} it is as good as {incumbent.id} ({-lost.mean:+.4f} ± {lost.se:.4f})",
                told_gain(gain, f"{metric} over {base}"),
            ),
            verdict(gain, noise, against=base, alpha=alpha, test=test) | {"instead_of": incumbent.id},
        )
        await asyncio.to_thread(self._lab.lineage.set_best, moved.candidate)
        return moved, [change.name for change in changes]

    async def _write(
        self,
        incumbent: Experiment,
        worths: Sequence[Worth],
        *,
        failed: Sequence[str],
        tried: Sequence[str],
        chosen: tuple[Experiment, list[str]] | None,
    ) -> None:
        found = {
            "pairs": self._pairs,
            "changes": [
                {
                    "name": worth.name,
                    "told": worth.told,
                    "worth": worth.gain.mean,
                    "ci95": list(worth.gain.interval()),
                    "idle": worth.idle,
                    "experiment": worth.experiment,
                }
                for worth in sorted(worths, key=lambda worth: -worth.gain.mean)
            ],
            "failed": list(failed),
            "tried": list(tried),
            "taken_out": chosen[1] if chosen else [],
            "simplified": chosen[0].id if chosen else None,
        }
        await ablation_page(self._lab.scribe, incumbent, found)
        await self._lab.journal.record(Kind.ABLATED, incumbent.id, found)

    async def _text(self, commit: str) -> str:
        return await asyncio.to_thread(self._lab.lineage.source, commit)


def _moved(before: str, after: str) -> dict[str, Knob]:
    """The constants that differ, of two files."""
    old, new = read_knobs(before), read_knobs(after)
    return {name: value for name, value in new.items() if name in old and old[name] != value}
