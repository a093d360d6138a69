"""The runs that candidates are compared with: noise floors, fresh runs of the incumbent, the closing examination."""

import asyncio
from collections.abc import Sequence

from swarm.epilogue import holdout_page
from swarm.errors import SwarmError
from swarm.lab import Lab
from swarm.research.experiment import Experiment, Trial
from swarm.research.hindsight import gap_of
from swarm.research.state import seeds
from swarm.trials import LOST

RETRIES = 2  # of a run that failed where others of the same candidate did not
MOST_LOST = 20  # times that a run's attempts may all be lost before the session cannot go on
REFERENCE_BID = 1e9  # what everything else is compared with goes first


class Yardstick:
    """Sees to it that there is something to compare with, on every kind of slot where it is needed."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._state = lab.journal.state

    async def measure_noise(self) -> None:
        """Replicate the baseline on every kind of slot that screens, then on the one that validates: the noise floors.

        Raises SwarmError when the baseline does not run.
        """
        baseline = self._state.baseline
        replicates = self._lab.settings.promotion.replicates
        plan = [("screen", kind) for kind in await self._lab.trials.kinds("screen")]
        plan += [("validate", kind) for kind in (await self._lab.trials.kinds("validate"))[:1]]
        chosen = {
            "screen": self._lab.observer.reference_seeds(baseline),
            "validate": seeds(self._lab.settings.seed, "validate", replicates),
        }
        for step in ("screen", "validate"):  # first what the first wave is compared with
            runs = [(tier, kind, seed) for tier, kind in plan if tier == step for seed in chosen[tier]]
            trials = await self._references(baseline, runs)
            if failed := [trial for trial in trials if not trial.completed]:
                raise SwarmError(
                    f"the task's own {self._lab.task.editable} ended {failed[0].outcome} on tier '{failed[0].tier}': "
                    f"{failed[0].message or 'no message'}; a baseline that does not run cannot be improved"
                )
        await self._lab.scribe.result(self._state.baseline)

    async def ensure_reference(self, accelerator: str) -> None:
        """Have the incumbent's own fresh screening runs on a kind of slot: every candidate there is compared with
        them.
        """
        while True:
            incumbent = self._state.incumbent
            wanted = self._lab.observer.reference_seeds(incumbent)
            if len(self._lab.observer.fresh_scores(incumbent, accelerator)) < len(wanted):
                await self._references(incumbent, [("screen", accelerator, seed) for seed in wanted])
            if incumbent.id == self._state.incumbent.id:
                return

    async def validation_kind(self, experiment: Experiment) -> str:
        """The one kind of slot that an experiment is validated on: where it has begun, else the tier's best."""
        earlier = experiment.completed("validate")
        return earlier[0].accelerator if earlier else (await self._lab.trials.kinds("validate"))[0]

    async def read_hidden_shard(self, incumbent: Experiment) -> None:
        """Score a new incumbent, and the baseline once, on the hidden shard, with a fresh seed: what was confirmed is
        read there once.
        """
        await self._on_hidden_shard(incumbent, seeds(self._lab.settings.seed, "closing", 1), bid=0.0)

    async def examine(self, pairs: int) -> None:
        """Run incumbent and baseline once more, on fresh seeds and the hidden shard: nothing was chosen by these. What
        the shard said of earlier incumbents is written down too.
        """
        await self._on_hidden_shard(
            self._state.incumbent, seeds(self._lab.settings.seed, "closing", pairs), bid=REFERENCE_BID
        )
        for name in self._state.incumbents[1:]:
            incumbent = self._state.experiments[name]
            gap = gap_of(self._state, incumbent, minimize=self._lab.observer.minimize)
            if gap is not None:
                await holdout_page(self._lab.scribe, incumbent, gap)

    async def _on_hidden_shard(self, incumbent: Experiment, chosen: Sequence[int], *, bid: float) -> None:
        kind = await self.validation_kind(incumbent)
        await asyncio.gather(
            *(
                self._lab.trials.run(experiment, "validate", seed, bid=bid, accelerator=kind, holdout=True)
                for seed in chosen
                for experiment in (incumbent, self._state.baseline)
            )
        )

    async def _references(self, experiment: Experiment, runs: Sequence[tuple[str, str, int]]) -> list[Trial]:
        """Runs (tier, kind of slot, seed) that others are compared with: they go first.

        What was lost runs again, and so does what failed where other runs did not: then the machine is to blame.
        """
        pardoned = 0
        while True:
            trials = await asyncio.gather(
                *(
                    self._lab.trials.run(experiment, tier, seed, bid=REFERENCE_BID, accelerator=kind, pardoned=pardoned)
                    for tier, kind, seed in runs
                )
            )
            broken = [trial for trial in trials if not trial.completed and trial.outcome not in LOST]
            hopeless = pardoned == RETRIES or len(broken) == len(trials) if broken else pardoned == MOST_LOST
            if hopeless or all(trial.completed for trial in trials):
                return trials
            pardoned += 1
