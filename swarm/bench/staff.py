"""The specialists of a simulated session: those that need no model, no kernel and no library."""

from collections.abc import Sequence

from notebook_store.entry import Entry, Kind
from swarm.agents.optimizer import OptimizerProposer
from swarm.agents.reviewer import ReviewContext, RuleReviewer
from swarm.bench.simulation import Stage
from swarm.ports import Brief, WaveReport
from swarm.research.effects import trends
from swarm.research.experiment import Experiment, Proposal, Review
from swarm.research.knobs import derive_ranges, read_knobs


class RuleStaff:
    """A Team (see wiring): the session's own optimiser and reviewer; thinking takes ``think_seconds`` a proposal."""

    def __init__(self, stage: Stage, *, think_seconds: float) -> None:
        self._stage = stage
        self._think_seconds = think_seconds  # of virtual time
        self._proposer = OptimizerProposer(stage.notebook, wave_size=stage.settings.waves.size)
        self._reviewer = RuleReviewer()

    async def propose(self, brief: Brief) -> list[Proposal]:
        proposals = await self._proposer.propose(brief)
        await self._stage.clock.sleep(self._think_seconds * len(proposals))
        return proposals

    @property
    def exhausted(self) -> bool:
        return True  # the optimiser knows no more until something new was seen

    async def review(self, experiment: Experiment, proposal: Proposal) -> Review:
        del experiment
        source = self._stage.candidates.source(proposal.parent)
        return await self._reviewer.review(
            proposal,
            ReviewContext(
                parent_source=source,
                ranges=derive_ranges(read_knobs(source), self._stage.task.ranges),
                observations=await self._stage.observer.observations(),
            ),
        )

    async def read(self, factors: Sequence[str]) -> None:
        del factors  # there is no library

    async def analyse(self, report: WaveReport) -> str:
        """Linear trends over the wave's own runs, in the form in which the proposer looks for them."""
        own = [seen for seen in report.observations if seen.wave == report.wave]
        runs = [dict(report.baseline), *(dict(seen.knobs) for seen in own)]
        effects = trends(runs, [0.0, *(seen.gain for seen in own)], report.noise)
        entry = Entry(
            id=f"{report.session}-{report.wave.replace(' ', '-')}-finding",
            kind=Kind.INSIGHT,
            title=f"{report.wave}: trends of {len(effects)} factors",
            body="Computed without a kernel.",
            author="analyst",
            session=report.session,
            task=report.task.name,
            created_at=self._stage.clock.now(),
            factors=tuple(effect.factor for effect in effects),
            data={
                "effects": [
                    {
                        "factor": effect.factor,
                        "low": effect.low,
                        "high": effect.high,
                        "effect": effect.effect,
                        "se": effect.se,
                        "p": effect.p,
                    }
                    for effect in effects
                ]
            },
        )
        self._stage.notebook.append(entry)
        return entry.id

    async def reflect(self, report: WaveReport) -> None:
        del report  # there is no model to think with

    async def widen(self, level: int, factors: Sequence[str]) -> None:
        del level, factors  # there is no library

    def hush(self) -> None:
        return

    async def close(self) -> None:
        return
