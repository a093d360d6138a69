"""The steps of one experiment, from ports alone. Each may run twice: it goes on from what is on record."""

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial

from swarm.errors import SwarmError
from swarm.lab import Lab
from swarm.research import promotion
from swarm.research.experiment import Experiment, Move, Proposal, Review, ReviewVerdict, Status, Trial
from swarm.research.knobs import read_knobs, set_knobs
from swarm.research.ledger import Kind
from swarm.research.promotion import Screening, Validation
from swarm.research.rulings import Ruling
from swarm.research.state import seeds
from swarm.yardstick import Yardstick
from trainer.contract import Outcome, Task


class Lifecycle:
    """Carries experiments from proposal to verdict."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._state = lab.journal.state
        self._yardstick = Yardstick(lab)
        self._deciding = asyncio.Lock()  # one verdict at a time: two gains over one incumbent are not both gains
        self._admitting = asyncio.Lock()  # ids are given in order

    # ---- proposal and review ------------------------------------------------------------------------------

    async def open_baseline(self) -> None:
        """Make the task's own file the first experiment and the first incumbent."""
        if self._state.experiments:
            return
        task = self._lab.task
        source = task.editable_path.read_text(encoding="utf-8")
        name = f"{self._state.session}-e000"
        files = await asyncio.to_thread(_tree, task)
        commit = await asyncio.to_thread(
            self._lab.lineage.commit, name, source, f"baseline of {task.name}", parent=None, files=files
        )
        proposal = Proposal(
            author="baseline",
            hypothesis=f"the starting point: {task.editable} of {task.name}",
            parent=commit,
            source=source,
        )
        await self._claim(source, name)
        await self._record_proposal(name, proposal, commit, Status.BASELINE)

    async def admit(self, proposal: Proposal) -> Experiment:
        """File a proposal as an experiment and have it reviewed; APPROVED or REJECTED afterwards."""
        async with self._admitting:
            if proposal.origin in self._state.origins:  # filed by a run that died before it could say so
                return self._state.experiments[self._state.origins[proposal.origin]]
            name = f"{self._state.session}-e{len(self._state.experiments):03d}"
            commit = await asyncio.to_thread(
                self._lab.lineage.commit, name, proposal.source, proposal.hypothesis, parent=proposal.parent
            )
            await self._record_proposal(name, proposal, commit, Status.PROPOSED)
        return await self.settle(self._state.experiments[name], proposal)

    async def settle(self, experiment: Experiment, proposal: Proposal | None = None) -> Experiment:
        """Review a PROPOSED experiment: the duplicate check first, the reviewer next."""
        if proposal is None:
            proposal = await self._proposal_again(experiment)
        diff = await asyncio.to_thread(self._lab.lineage.diff, proposal.parent, experiment.candidate)
        await self._lab.scribe.hypothesis(experiment, diff)
        twin = await self._claim(proposal.source, experiment.id)
        if twin is not None:
            review = Review(
                verdict=ReviewVerdict.REJECTED, reasons=(f"the same file was tried as {twin}",), near=(twin,)
            )
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
                started=lambda: self._begin(name, Status.APPROVED, Move.SCREEN),
            )
            experiment = self._state.experiments[name]
            if not trial.completed:
                move = Move.PRUNE if trial.outcome == Outcome.CUT else Move.CRASH
                await self._over(experiment, move, (f"{trial.outcome}: {trial.message}",))
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
                    await self._over(experiment, Move.PRUNE, (told,), numbers)

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
        """Run a promoted candidate beside the incumbent on the validation tier, pair by pair, until it is decided."""
        steps = self._lab.observer.looks(self._lab.trials.planned_seconds("validate"))
        pairs = steps[0]
        while (experiment := self._state.experiments[name]).status in (Status.PROMOTED, Status.VALIDATING):
            incumbent = self._state.incumbent
            ran = await self._run_pairs(experiment, incumbent, pairs)
            experiment = self._state.experiments[name]
            broken = next((candidate for candidate, _ in ran if not candidate.completed), None)
            if broken is not None:
                await self._over(experiment, Move.CRASH, (f"{broken.outcome}: {broken.message}",))
                return
            async with self._deciding:
                if incumbent.id == self._state.incumbent.id and not await self._decide_validation(experiment, ran):
                    pairs = next(step for step in steps if step > pairs)

    async def _run_pairs(self, experiment: Experiment, incumbent: Experiment, count: int) -> list[tuple[Trial, Trial]]:
        """(candidate, incumbent) trials on the first ``count`` validation seeds; known ones are not run again."""
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
                started=lambda: self._begin(experiment.id, Status.PROMOTED, Move.VALIDATE),
            )
            for seed in chosen
        ]
        incumbents = [self._lab.trials.run(incumbent, "validate", seed, bid=bid, accelerator=kind) for seed in chosen]
        trials = await asyncio.gather(*candidates, *incumbents)
        return list(zip(trials[:count], trials[count:], strict=True))

    async def _decide_validation(self, experiment: Experiment, ran: Sequence[tuple[Trial, Trial]]) -> bool:
        """Confirm, refute, or ask for another pair (False)."""
        settings = self._lab.settings.promotion
        alike = [(c, i) for c, i in ran if i.completed and c.accelerator == i.accelerator]
        noise = self._state.noise("validate", ran[0][0].accelerator)
        if noise is None or not alike:
            raise SwarmError(f"{experiment.id} has no pair of runs on one accelerator type; see `swarm leases`")
        values = [(c.value, i.value) for c, i in alike if c.value is not None and i.value is not None]
        gain = promotion.paired_gain(values, noise, minimize=self._lab.observer.minimize)
        test = self._state.validations + 1
        alpha = promotion.allowance(test, self._state.confirmed_tests, settings.alpha)
        said = promotion.validate(
            gain, alpha=alpha, steps=self._lab.observer.looks(self._lab.trials.planned_seconds("validate"))
        )
        if said is Validation.UNDECIDED:
            return False
        low, high = gain.interval()
        numbers = {
            "tier": "validate",
            "gain": gain.mean,
            "ci95": [low, high],
            "n": gain.n,
            "against": self._state.incumbent.id,
            "alpha": alpha,
            "noise_sd": noise.sd,
            "noise_df": noise.df,
            "test": test,
        }
        over = f"{self._lab.task.metric} over {self._state.incumbent.id}"
        told = f"validated gain {gain.mean:+.4f} [{low:+.4f}, {high:+.4f}] {over}"
        move = Move.CONFIRM if said is Validation.CONFIRMED else Move.REFUTE
        moved = await self._over(experiment, move, (told,), numbers)
        if move is Move.CONFIRM:
            await asyncio.to_thread(self._lab.lineage.set_best, moved.candidate)
        return True

    # ---- when the incumbent moves ---------------------------------------------------------------------------

    async def reconsider(self, experiment: Experiment) -> None:
        """A promoted experiment meets a new incumbent: it still beats it, or its idea is rebased on it, or it goes."""
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
        source, fault = await asyncio.to_thread(self._rebased, experiment, incumbent)
        if source is None:
            await self._over(experiment, Move.WITHDRAW, (fault,))
            return
        twin = await self._claim(source, experiment.id)
        if twin is not None:
            await self._over(experiment, Move.WITHDRAW, (f"on top of {incumbent.id} it is the same file as {twin}",))
            return
        commit = await asyncio.to_thread(
            self._lab.lineage.commit, experiment.id, source, experiment.hypothesis, parent=incumbent.candidate
        )
        await self._lab.journal.move(
            experiment,
            Move.REBASE,
            reasons=(f"rebased on {incumbent.id}",),
            candidate=commit,
            parent=incumbent.candidate,
        )

    def _rebased(self, experiment: Experiment, incumbent: Experiment) -> tuple[str | None, str]:
        lineage = self._lab.lineage
        assert experiment.parent is not None
        base, ours = lineage.source(experiment.parent), lineage.source(incumbent.candidate)
        if not experiment.changes:
            merged = lineage.merge(base, ours, lineage.source(experiment.candidate))
            return merged, f"its edit conflicts with that of {incumbent.id}"
        before, after = read_knobs(base), read_knobs(ours)
        clash = sorted(name for name in experiment.changes if before.get(name) != after.get(name))
        if clash:
            return None, f"{incumbent.id} has set {', '.join(clash)} otherwise in the meantime"
        return set_knobs(ours, experiment.changes), ""

    # ---- small steps ----------------------------------------------------------------------------------------

    async def _begin(self, name: str, waiting: Status, move: Move) -> None:
        experiment = self._state.experiments[name]
        if experiment.status is waiting:
            await self._lab.journal.move(experiment, move)

    async def _over(
        self,
        experiment: Experiment,
        move: Move,
        reasons: tuple[str, ...],
        numbers: dict[str, object] | None = None,
    ) -> Experiment:
        moved = await self._lab.journal.move(experiment, move, reasons=reasons, verdict=numbers)
        await self._lab.scribe.ending(moved)
        return moved

    async def _claim(self, source: str, holder: str) -> str | None:
        """Claim a file for an experiment; who had it before, or None when it is ours."""
        digest = hashlib.sha256(source.encode()).hexdigest()
        key = f"{self._state.session}:{digest}"
        claim = await asyncio.to_thread(self._lab.scribe.notebook.claim, key, holder, at=self._lab.clock.now())
        return None if claim.holder == holder else claim.holder

    async def _record_proposal(self, name: str, proposal: Proposal, commit: str, status: Status) -> None:
        data = {
            "status": status,
            "author": proposal.author,
            "hypothesis": proposal.hypothesis,
            "parent": None if status is Status.BASELINE else proposal.parent,
            "candidate": commit,
            "changes": dict(proposal.changes),
            "expected_gain": proposal.expected_gain,
            "citations": proposal.citations,
            "wave": proposal.wave,
            "origin": proposal.origin,
        }
        await self._lab.journal.record(Kind.PROPOSED, name, data, experiment=name)

    async def _proposal_again(self, experiment: Experiment) -> Proposal:
        """The proposal of an experiment that was filed and not yet reviewed when the session died."""
        assert experiment.parent is not None
        source = await asyncio.to_thread(self._lab.lineage.source, experiment.candidate)
        return Proposal(
            author=experiment.author,
            hypothesis=experiment.hypothesis,
            parent=experiment.parent,
            source=source,
            changes=experiment.changes,
            expected_gain=experiment.expected_gain,
            citations=experiment.citations,
            wave=experiment.wave,
        )


def _tree(task: Task) -> dict[str, str]:
    """The task's own files, so that a checkout of a candidate is a whole task folder."""
    files = {}
    for name in ("task.toml", "program.md", *task.protected):
        path = task.folder / name
        if path.is_file():
            files[name] = path.read_text(encoding="utf-8")
    return files
