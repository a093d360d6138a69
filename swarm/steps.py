"""The small steps that experiments take on record: filed, claimed, moved, put on top of another file."""

import asyncio
import hashlib
from collections.abc import Mapping

from swarm.lab import Lab
from swarm.research.experiment import Experiment, Knob, Move, Proposal, Status
from swarm.research.knobs import read_knobs, set_knobs
from swarm.research.ledger import Kind


class Steps:
    """Takes steps for the lifecycle; each may be taken twice and leaves one trace."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._state = lab.journal.state
        self._admitting = asyncio.Lock()  # ids are given in order

    async def file(self, proposal: Proposal, status: Status = Status.PROPOSED) -> tuple[Experiment, bool]:
        """Keep the proposal's file as a candidate and put it on record; the experiment, and whether it is new."""
        async with self._admitting:
            if proposal.origin in self._state.origins:  # filed by a run that died before it could say so
                return self._state.experiments[self._state.origins[proposal.origin]], False
            name = self._state.name_of(len(self._state.experiments))
            commit = await self.keep(name, proposal.source, proposal.hypothesis, parent=proposal.parent)
            await self.record(name, proposal, commit, status)
        return self._state.experiments[name], True

    async def keep(
        self, name: str, source: str, message: str, *, parent: str | None, files: Mapping[str, str] | None = None
    ) -> str:
        """Keep a file as a candidate, dated now, on top of ``parent``; its commit."""
        return await asyncio.to_thread(
            self._lab.lineage.commit, name, source, message, parent=parent, at=self._lab.clock.now(), files=files
        )

    async def record(self, name: str, proposal: Proposal, commit: str, status: Status) -> None:
        """Put an experiment on record under a given name."""
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

    async def claim(self, source: str, holder: str) -> str | None:
        """Claim a file for an experiment; who had it before, or None when it is ours."""
        digest = hashlib.sha256(source.encode()).hexdigest()
        key = f"{self._state.session}:{digest}"
        claim = await asyncio.to_thread(self._lab.scribe.notebook.claim, key, holder, at=self._lab.clock.now())
        return None if claim.holder == holder else claim.holder

    async def begin(self, name: str, waiting: Status, move: Move) -> None:
        """Make a move that is due now, where it was not made before."""
        experiment = self._state.experiments[name]
        if experiment.status is waiting:
            await self._lab.journal.move(experiment, move)

    async def over(
        self,
        experiment: Experiment,
        move: Move,
        reasons: tuple[str, ...],
        numbers: Mapping[str, object] | None = None,
    ) -> Experiment:
        """Make an experiment's last move and write the pages about it."""
        moved = await self._lab.journal.move(experiment, move, reasons=reasons, verdict=numbers)
        await self.conclude(moved)
        return moved

    async def conclude(self, experiment: Experiment) -> None:
        """Write the pages of an experiment that is over, and keep its checkpoint only where it is CONFIRMED."""
        await self._lab.scribe.ending(experiment)
        if experiment.status is not Status.CONFIRMED:
            await self._lab.trials.drop_checkpoints(experiment)

    async def on_top(
        self, changes: Mapping[str, Knob], *, base: str, theirs: str, incumbent: Experiment
    ) -> tuple[str | None, str]:
        """What the commit ``theirs`` changes in ``base``, on top of the incumbent's file; None and why it does not
        apply. ``changes`` are its constants; where it has none, its edit is merged.
        """
        return await asyncio.to_thread(self._on_top, changes, base, theirs, incumbent)

    def _on_top(
        self, changes: Mapping[str, Knob], base: str, theirs: str, incumbent: Experiment
    ) -> tuple[str | None, str]:
        lineage = self._lab.lineage
        before, ours = lineage.source(base), lineage.source(incumbent.candidate)
        if not changes:
            merged = lineage.merge(before, ours, lineage.source(theirs))
            return merged, f"its edit conflicts with that of {incumbent.id}"
        old, new = read_knobs(before), read_knobs(ours)
        clash = sorted(name for name in changes if old.get(name) != new.get(name))
        if clash:
            return None, f"{incumbent.id} has set {', '.join(clash)} otherwise in the meantime"
        return set_knobs(ours, changes), ""
