"""What the record shows of candidates: their constants, their scores, their gains over a reference."""

import asyncio
import hashlib
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from swarm.config import Settings
from swarm.journal import Journal
from swarm.ports import CandidateStore, Limits, Observation
from swarm.research import cutting, promotion
from swarm.research.experiment import Experiment, Knob, Status, Trial
from swarm.research.knobs import read_knobs
from swarm.research.parts import CONSTANTS, changed_parts, parts
from swarm.research.promotion import Gain
from swarm.research.state import seeds
from trainer.contract import Direction, Task

_PATIENCE = 0.25  # of a session on one slot, that one validation may take
HORIZON = 400  # newest experiments that are shown to whoever proposes and reviews: what a look costs is bounded
BEST = 100  # of the older ones
DESIGNED = 150  # of the older ones in designed waves: more than are modelled together around an incumbent
INCUMBENT_REFERENCES = 4  # fresh screening runs of an incumbent; the baseline has its replicates


class Observer:
    """Reads a session's record; decides and writes nothing."""

    def __init__(self, journal: Journal, lineage: CandidateStore, task: Task, settings: Settings) -> None:
        self._state = journal.state
        self._lineage = lineage
        self._settings = settings
        self._knobs: dict[str, dict[str, Knob]] = {}  # commit -> constants, of the last ones asked for
        self._files: dict[str, str] = {}  # commit -> sha256 of its file
        self._catching_up = asyncio.Lock()
        self._fresh: dict[str, list[float]] = {}  # accelerator -> the baseline's fresh scores they rest on
        self._seen: dict[tuple[str, str], Observation] = {}  # (experiment, commit) -> what screening showed
        self._designs: dict[tuple[str, str], Observation] = {}  # the same, of older ones in designed waves
        self._best: dict[tuple[str, str], Observation] = {}  # the same, of the best of the other older ones
        self._changed_by: dict[str, frozenset[str]] = {}  # open experiment -> parts of the file that it changed
        self._changes: Counter[str] = Counter()  # part -> experiments that changed it
        self._taken: dict[str, dict[str, Knob]] = {}  # experiment -> constants, where nothing of it has ended
        self.minimize = task.direction is Direction.MINIMIZE

    @property
    def plateaus(self) -> int:
        """How often a plateau was announced."""
        return self._state.plateaus

    async def knobs(self, candidate: str) -> dict[str, Knob]:
        """The constants of a candidate."""
        if candidate not in self._knobs:
            _trim(self._knobs, HORIZON)
            self._knobs[candidate] = read_knobs(await asyncio.to_thread(self._lineage.source, candidate))
        return self._knobs[candidate]

    def reference_seeds(self, experiment: Experiment) -> Sequence[int]:
        """Seeds of the screening runs that others are compared with."""
        baseline = experiment.status is Status.BASELINE
        count = self._settings.promotion.replicates if baseline else INCUMBENT_REFERENCES
        return seeds(self._settings.seed, "reference", count)

    def fresh_scores(self, reference: Experiment, accelerator: str) -> list[float]:
        """Screening scores by which nothing was chosen: the run that made a candidate the incumbent is too good."""
        wanted = set(self.reference_seeds(reference))
        return scores(trial for trial in reference.completed("screen", accelerator) if trial.seed in wanted)

    def screening_gain(self, experiment: Experiment, reference: Experiment, accelerator: str) -> Gain | None:
        """Gain at screening over the reference's fresh runs; None while either has none there."""
        noise = self._state.noise("screen", accelerator)
        ran, fresh = scores(experiment.completed("screen", accelerator)), self.fresh_scores(reference, accelerator)
        if noise is None or not ran or not fresh:
            return None
        return promotion.gain_over(ran, fresh, noise, minimize=self.minimize)

    def cut_limits(self, experiment: Experiment, accelerator: str) -> Limits:
        """When a first screening trial is hopeless. A designed wave is never cut: its analysis needs every run."""
        wave = self._state.waves.get(experiment.wave or "")
        if not self._settings.promotion.cut_hopeless or (wave is not None and wave.design != "search"):
            return ()
        return cutting.limits(self._state.curves.get(accelerator, ()))

    def looks(self, seconds: float) -> list[int]:
        """After how many pairs a validation is looked at, where one of its trials should take ``seconds``: the same
        throughout a session, and no candidate keeps a slot for more than a quarter of it.
        """
        settings, hours = self._settings.promotion, self._settings.limits.hours
        most = settings.max_pairs
        if hours is not None and seconds > 0:
            most = min(most, int(_PATIENCE * hours * 3600 / seconds))
        return promotion.looks(settings.min_pairs, max(most, settings.min_pairs))

    def screening_noise(self) -> float | None:
        """Noise floor of the screening tier (sd, metric units) on the accelerator type first used there."""
        for accelerator in self._state.accelerators("screen"):
            noise = self._state.noise("screen", accelerator)
            if noise is not None:
                return noise.sd
        return None

    async def observations(self) -> list[Observation]:
        """What screening showed, in the order of ending, each as a gain over the baseline's fresh runs: of the newest
        candidates, and of older ones the newest of designed waves and the best. Costs grow with what is new since the
        last call.
        """
        await self._catch_up()
        return [*self._designs.values(), *self._best.values(), *self._seen.values()]

    async def unscreened(self) -> list[dict[str, Knob]]:
        """Constants of that of which nothing has ended yet: it waits, runs, or was rejected."""
        await self._catch_up()
        return list(self._taken.values())

    async def _catch_up(self) -> None:
        """Look at the experiments that changed; at all of them when what they are compared with did."""
        async with self._catching_up:
            for name in self._news():
                await self._look_at(self._state.experiments[name])

    def _news(self) -> list[str]:
        """Experiments to look at (again); the baseline, which is never observed, left out."""
        news = dict.fromkeys(self._state.touched)
        self._state.touched.clear()
        if self._state.experiments and self._state.baseline.id in news:
            fresh = {kind: self.fresh_scores(self._state.baseline, kind) for kind in self._state.accelerators("screen")}
            if fresh != self._fresh:
                self._fresh = fresh
                news |= dict.fromkeys(name for name, _ in (*self._designs, *self._best, *self._seen))
                news |= dict.fromkeys(islice(reversed(self._state.experiments), HORIZON))
            news.pop(self._state.baseline.id, None)
        return list(news)

    async def _look_at(self, experiment: Experiment) -> None:
        for candidate in dict.fromkeys(trial.candidate for trial in experiment.trials):
            observation = await self._observe(experiment, candidate)
            if observation is not None:
                key = (experiment.id, candidate)
                kept = next((some for some in (self._designs, self._best) if key in some), self._seen)
                kept[key] = observation
        self._remember_what_is_worth_it()
        await self._count_parts(experiment)
        if any(trial.outcome for trial in experiment.trials):
            self._taken.pop(experiment.id, None)
        else:
            self._taken[experiment.id] = await self.knobs(experiment.candidate)
            _trim(self._taken, HORIZON)

    def _remember_what_is_worth_it(self) -> None:
        """Let go of old observations, but for the newest of designed waves, which say most together, and the best."""
        while len(self._seen) > HORIZON:
            key = next(iter(self._seen))
            old = self._seen.pop(key)
            if self._designed(old):
                _trim(self._designs, DESIGNED)
                self._designs[key] = old
            elif old.gain is not None:
                self._best[key] = old
            if len(self._best) > BEST:
                del self._best[min(self._best, key=lambda key: self._best[key].gain or 0.0)]

    def _designed(self, observation: Observation) -> bool:
        wave = self._state.waves.get(observation.wave or "")
        return wave is not None and wave.design != "search"

    async def _count_parts(self, experiment: Experiment) -> None:
        """Count which parts of the file an experiment changed, once, however often it is looked at."""
        self._changes.subtract(self._changed_by.get(experiment.id, ()))
        self._changed_by[experiment.id] = await self._changed(experiment)
        self._changes.update(self._changed_by[experiment.id])
        if len(self._changed_by) > HORIZON:  # it will not be looked at again, and what it added stays
            del self._changed_by[next(name for name in self._changed_by if name not in self._state.incumbents)]

    async def parts(self) -> dict[str, int]:
        """Part of the incumbent's file -> how many experiments changed it."""
        await self._catch_up()
        shown = parts(await self._text(self._state.incumbent.candidate))
        return {name: self._changes[name] for name in shown}

    async def files(self) -> dict[str, str]:
        """sha256 of the file of each of the newest candidates -> the experiment that had it first."""
        found: dict[str, str] = {}
        for name in [*islice(reversed(self._state.experiments), HORIZON)][::-1]:
            candidate = self._state.experiments[name].candidate
            if candidate not in self._files:
                _trim(self._files, 2 * HORIZON)
                self._files[candidate] = hashlib.sha256((await self._text(candidate)).encode()).hexdigest()
            found.setdefault(self._files[candidate], name)
        return found

    async def _changed(self, experiment: Experiment) -> frozenset[str]:
        if experiment.parent is None:
            return frozenset()
        if experiment.changes:
            return frozenset({CONSTANTS})
        before, after = await self._text(experiment.parent), await self._text(experiment.candidate)
        return frozenset(changed_parts(before, after))

    async def _text(self, candidate: str) -> str:
        return await asyncio.to_thread(self._lineage.source, candidate)

    async def _observe(self, experiment: Experiment, candidate: str) -> Observation | None:
        trials = [t for t in experiment.trials if t.candidate == candidate and t.tier == "screen" and t.outcome]
        if not trials:
            return None
        values = scores(trial for trial in trials if trial.accelerator == trials[-1].accelerator)
        fresh = self.fresh_scores(self._state.baseline, trials[-1].accelerator)
        if values and not fresh:
            return None  # nothing to compare it with yet
        gain = None
        if values:
            gain = (statistics.fmean(fresh) - statistics.fmean(values)) * (1 if self.minimize else -1)
        return Observation(
            experiment=experiment.id,
            wave=experiment.wave if candidate == experiment.candidate else None,
            knobs=await self.knobs(candidate),
            gain=gain,
            outcome=trials[-1].outcome or "",
            peak_memory_mb=trials[-1].peak_memory_mb,
            author=experiment.author,
            seconds=sum(trial.train_seconds or 0.0 for trial in trials),
        )


def _trim(kept: dict[Any, Any], most: int) -> None:
    """Make room for another entry where there are ``most``."""
    if len(kept) >= most:
        del kept[next(iter(kept))]


def scores(trials: Iterable[Trial]) -> list[float]:
    """The values of those trials that have one."""
    return [trial.value for trial in trials if trial.value is not None]
