"""The life of one experiment, from ports alone. Each step may run twice: it goes on from what is on record."""

import asyncio
from functools import partial

from swarm.errors import SwarmError
from swarm.lab import Lab
from swarm.research import promotion
from swarm.research.experiment import Experiment, Move, Proposal, Review, ReviewVerdict, Status
from swarm.research.ledger import Kind
from swarm.research.promotion import Screening
from swarm.research.rulings import Ruling
from swarm.research.state import seeds
from swarm.steps import Steps
from swarm.validating import Validator
from swarm.yardstick import Yardstick
from trainer.contract import Outcome, Task


class Lifecycle:
    """Carries experiments from proposal to verdict."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._state = lab.journal.state
        self._yardstick = Yardstick(lab)
        self.steps = Steps(lab)
        self._validator = Validator(lab, self.steps)

    # ---- proposal and review ------------------------------------------------------------------------------

    async def open_baseline(self) -> None:
        """Make the task's own file the first experiment and the first incumbent."""
        if self._state.experiments:
            return
        task = self._lab.task
        source = task.editable_path.read_text(encoding="utf-8")
        name = self._state.name_of(0)
        files = await asyncio.to_thread(_tree, task)
        commit = await self.steps.keep(name, source, f"baseline of {task.name}", parent=None, files=files)
        proposal = Proposal(
            author="baseline",
            hypothesis=f"the starting point: {task.editable} of {task.name}",
            parent=commit,
            source=source,
        )
        await self.steps.claim(source, name)
        await self.steps.record(name, proposal, commit, Status.BASELINE)

    async def admit(self, proposal: Proposal) -> Experiment:
        """File a proposal as an experiment and have it reviewed; APPROVED or REJECTED afterwards."""
        experiment, new = await self.steps.file(proposal)
        return await self.settle(experiment, proposal) if new else experiment

    async def settle(self, experiment: Experiment, proposal: Proposal | None = None) -> Experiment:
        """Review a PROPOSED experiment: the duplicate check first, the reviewer next."""
        if proposal is None:
            proposal = await self._proposal_again(experiment)
        diff = await asyncio.to_thread(self._lab.lineage.diff, proposal.parent, experiment.candidate)
        await self._lab.scribe.hypothesis(experiment, diff)
        twin = await self.steps.claim(proposal.source, experiment.id)
        if twin is not None:
            review = Review(verdict=ReviewVerdict.REJECTED, reasons=(f"the same file was tried as {twin}",))
        else:
            review = await self._lab.review(experiment, proposal)
        if review.thought:
            judged = {"verdict": review.verdict, "sampled": review.sampled}
            await self._lab.journal.record(Kind.REVIEWED, experiment.id, judged, experiment=experiment.id)
        await self._lab.scribe.review(experiment, review, author=review.author)
        yes = Move.HOLD if self._lab.settings.approve else Move.APPROVE
        move = yes if review.verdict is ReviewVerdict.APPROVED or review.sampled else Move.REJECT
        return await self._lab.journal.move(experiment, move, reasons=review.reasons)

    async def rule(self, ruling: Ruling) -> bool:
        """Do as a person says with a HELD experiment; False where it is not held, or no longer."""
        experiment = self._state.experiments.get(ruling.experiment)
        if experiment is None or experiment.status is not Status.HELD:
            return False
        verdict = ReviewVerdict.APPROVED if ruling.yes else ReviewVerdict.REJECTED
        review = Review(verdict=verdict, reasons=(ruling.told,))
        await self._lab.scribe.review(experiment, review, author=ruling.by, page="ruling")
        move = Move.APPROVE if ruling.yes else Move.REJECT
        await self._lab.journal.move(experiment, move, reasons=review.reasons)
        return True

    # ---- screening ------------------------------------------------------------------------------------------

    async def screen(self, name: str) -> None:
        """Run an approved experiment on the screening tier until it is promoted or out."""
        while (experiment := self._state.experiments[name]).status in (Status.APPROVED, Status.SCREENING):
            earlier = experiment.completed("screen")
            seed = seeds(self._lab.settings.seed, "screen", experiment.retests + 1)[-1]
            trial = await self._lab.trials.run(
                experiment,
                "screen",
                seed,
                bid=self._bid(experiment, "screen"),
                accelerator=earlier[0].accelerator if earlier else None,
                limits=partial(self._lab.observer.cut_limits, experiment),
                started=lambda: self.steps.begin(name, Status.APPROVED, Move.SCREEN),
            )
            experiment = self._state.experiments[name]
            if not trial.completed:
                move = Move.PRUNE if trial.outcome == Outcome.CUT else Move.CRASH
                await self.steps.over(experiment, move, (f"{trial.outcome}: {trial.message}",))
                return
            await self._yardstick.ensure_reference(trial.accelerator)
            await self._decide_screening(experiment, trial.accelerator)

    async def _decide_screening(self, experiment: Experiment, accelerator: str) -> None:
        incumbent = self._state.incumbent
        gain = self._lab.observer.screening_gain(experiment, incumbent, accelerator)
        if gain is None:
            raise SwarmError(
                f"the incumbent {incumbent.id} has no score on tier 'screen', so nothing can be compared with it; "
                f"see `swarm experiment {incumbent.id}`"
            )
        numbers = {"tier": "screen", "gain": gain.mean, "se": gain.se, "n": gain.n, "against": incumbent.id}
        told = (
            f"screening gain {gain.mean:+.4f} ± {gain.se:.4f} {self._lab.task.metric} over {incumbent.id} (n={gain.n})"
        )
        match promotion.screen(gain, looks=gain.n):
            case Screening.PROMOTED:
                await self._lab.journal.move(experiment, Move.PROMOTE, reasons=(told,), verdict=numbers)
            case Screening.RETEST:
                await self._lab.journal.move(experiment, Move.RETEST, reasons=(told,), verdict=numbers)
            case Screening.PRUNED:
                if await self._worth_rebasing(experiment, accelerator):
                    await self.rebase(experiment)
                else:
                    await self.steps.over(experiment, Move.PRUNE, (told,), numbers)

    async def _worth_rebasing(self, experiment: Experiment, accelerator: str) -> bool:
        """Whether a candidate that does not beat the incumbent was a gain over its own, older parent."""
        parent = self._state.of_candidate(experiment.parent or "")
        if parent is None or parent.candidate != experiment.parent:
            return False
        if parent.id == self._state.incumbent.id or parent.id not in self._state.incumbents:
            return False
        gain = self._lab.observer.screening_gain(experiment, parent, accelerator)
        return gain is not None and promotion.screen(gain, looks=gain.n, max_looks=gain.n) is Screening.PROMOTED

    def _bid(self, experiment: Experiment, tier: str) -> float:
        """Expected gain per second of a slot: as its proposer states it and its record supports it."""
        record = self._state.records[experiment.author]
        return record.supported(experiment.expected_gain) / max(1.0, self._lab.trials.expected_seconds(tier))

    # ---- validation -----------------------------------------------------------------------------------------

    async def validate(self, name: str) -> None:
        """Validate a promoted experiment until it is decided."""
        await self._validator.validate(name)

    # ---- when the incumbent moves ---------------------------------------------------------------------------

    async def reconsider(self, experiment: Experiment) -> None:
        """A promoted experiment meets a new incumbent: it still beats it, or its idea is rebased on it, or it goes."""
        if "alone" in experiment.verdict:  # it was not screened: what it is put on moved once more
            await self._validator.restack(experiment)
            return
        accelerator = experiment.completed("screen")[-1].accelerator
        await self._yardstick.ensure_reference(accelerator)
        experiment = self._state.experiments[experiment.id]
        gain = self._lab.observer.screening_gain(experiment, self._state.incumbent, accelerator)
        if experiment.status is not Status.PROMOTED or gain is None:
            return
        if promotion.screen(gain, looks=gain.n, max_looks=gain.n) is Screening.PROMOTED:
            against = self._state.incumbent.id
            numbers = {"tier": "screen", "gain": gain.mean, "se": gain.se, "n": gain.n, "against": against}
            await self._lab.journal.move(experiment, Move.KEEP, verdict=numbers)
        else:
            await self.rebase(experiment)

    async def rebase(self, experiment: Experiment) -> None:
        """Put the experiment's change on top of the incumbent and screen it anew; withdraw what does not apply."""
        incumbent = self._state.incumbent
        assert experiment.parent is not None
        source, fault = await self.steps.on_top(
            experiment.changes, base=experiment.parent, theirs=experiment.candidate, incumbent=incumbent
        )
        if source is None:
            await self.steps.over(experiment, Move.WITHDRAW, (fault,))
            return
        twin = await self.steps.claim(source, experiment.id)
        if twin is not None:
            await self.steps.over(
                experiment, Move.WITHDRAW, (f"on top of {incumbent.id} it is the same file as {twin}",)
            )
            return
        commit = await self.steps.keep(experiment.id, source, experiment.hypothesis, parent=incumbent.candidate)
        await self._lab.journal.move(
            experiment,
            Move.REBASE,
            reasons=(f"rebased on {incumbent.id}",),
            candidate=commit,
            parent=incumbent.candidate,
        )

    async def _proposal_again(self, experiment: Experiment) -> Proposal:
        """The proposal of an experiment that was filed and not yet reviewed when the session died."""
        assert experiment.parent is not None
        source = await asyncio.to_thread(self._lab.lineage.source, experiment.candidate)
        origins = (origin for origin, name in self._state.origins.items() if name == experiment.id)
        return Proposal(
            author=experiment.author,
            hypothesis=experiment.hypothesis,
            parent=experiment.parent,
            source=source,
            changes=experiment.changes,
            expected_gain=experiment.expected_gain,
            citations=experiment.citations,
            wave=experiment.wave,
            origin=next(origins, None),
        )


def _tree(task: Task) -> dict[str, str]:
    """The task's own files, so that a checkout of a candidate is a whole task folder."""
    files = {}
    for name in ("task.toml", "program.md", *task.protected):
        path = task.folder / name
        if path.is_file():
            files[name] = path.read_text(encoding="utf-8")
    return files
