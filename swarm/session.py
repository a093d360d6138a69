"""Many experiments at once: start, keep every slot busy, drain, recover."""

import asyncio
import gc
import os
from collections.abc import Callable, Coroutine
from typing import Any

from notebook_store.errors import IndexBroken
from swarm.ablation import Ablation
from swarm.backlog import Backlog
from swarm.crew import Crew
from swarm.errors import SwarmError
from swarm.keepers import Keepers
from swarm.lab import Lab
from swarm.lifecycle import Lifecycle
from swarm.pace import EXAM_PAIRS, Pace
from swarm.ports import WaveReport
from swarm.research import plateau
from swarm.research.experiment import Experiment, Status
from swarm.research.knobs import derive_ranges
from swarm.research.ledger import Kind
from swarm.research.rulings import Ruling
from swarm.research.state import SessionState
from swarm.trials import Draining
from swarm.yardstick import Yardstick

TOGETHER_SECONDS = 0.01  # of the loop's time: what happens within it is looked at together
LATELY = 1000  # events of the home within which those lie whose pages were still being written at a death
COLLECTED = 20_000  # new objects between searches for cycles: there are hardly any, and a whole search takes 0.1 s
OPEN = (Status.PROPOSED, Status.HELD, Status.APPROVED, Status.SCREENING, Status.PROMOTED, Status.VALIDATING)
UNSCREENED = (Status.PROPOSED, Status.HELD, Status.APPROVED, Status.SCREENING)


class Session:
    """One long run of the swarm over one task. ``run`` once."""

    def __init__(self, lab: Lab, crew: Crew) -> None:
        self._lab = lab
        self._crew = crew
        self._journal = lab.journal
        self._state = lab.journal.state
        self._lifecycle = Lifecycle(lab)
        self._yardstick = Yardstick(lab)
        self._ablation = Ablation(lab, self._lifecycle)
        self._backlog = Backlog(lab, self._lifecycle, crew.specialists, slots=len(crew.slots), thinkers=crew.thinkers)
        self._group = asyncio.TaskGroup()
        self._busy: dict[str, asyncio.Task[None]] = {}  # what is being done, by name: nothing is done twice at once
        self._stopping: str | None = None  # why a person wants it to end
        self._unveiled: set[str] = set()  # incumbents whose score on the hidden shard was asked for in this run
        self._examined = False  # whether the closing examination was held, or is being held, in this run
        self.number = len(self._state.runs) + 1
        self.pace = Pace(lab, crew.desk, slots=crew.slots)
        self._phase = "starting"
        self._keepers = Keepers(lab, crew, self)
        lab.trials.gate.fits = self.pace.may_start

    @property
    def state(self) -> SessionState:
        """What is on record."""
        return self._state

    @property
    def phase(self) -> str:
        """What it is doing, in words."""
        return self._keepers.held or self._phase

    async def changed(self) -> None:
        """Wait until something has happened, or may have."""
        await self._journal.change(timeout=self._crew.tick_seconds)

    # ---- the whole of it --------------------------------------------------------------------------------

    async def run(self) -> str:
        """Work until a limit is reached or somebody stops it; why it ended. Raises SwarmError when it cannot go on."""
        gc.set_threshold(COLLECTED)
        await self.pace.begin()
        limits = self._lab.settings.limits.model_dump()
        await self._journal.record(Kind.RUN_STARTED, str(self.number), {"pid": os.getpid(), "limits": limits})
        reason = "it failed"
        try:
            async with self._group:
                keeping = [self._group.create_task(keeper()) for keeper in self._keepers.all()]
                reason = await self._work()
                for task in keeping:
                    task.cancel()
        except BaseExceptionGroup as group:
            error = _first(group)
            reason = f"it failed: {error}"
            raise error from None
        finally:
            await self._crew.specialists.close()
            await self._journal.record(Kind.RUN_ENDED, str(self.number), {"reason": reason})
        return reason

    def drain(self, reason: str) -> None:
        """Start no new trial; the session ends when the running ones have."""
        self._stopping = self._stopping or reason
        self._lab.trials.gate.closed.set()

    async def stop_now(self, reason: str) -> None:
        """End the running trials too. They are on record as PREEMPTED and run again when the session is resumed."""
        self.drain(reason)
        self._lab.trials.gate.ending = True
        await asyncio.gather(*(self._crew.executor.cancel(name) for name in list(self._state.live_trials)))

    async def rule(self, ruling: Ruling) -> bool:
        """Do as a person says with an experiment that waits for a yes."""
        return await self._lifecycle.rule(ruling)

    async def _work(self) -> str:
        await self._recover()
        await self._lifecycle.open_baseline()
        await asyncio.to_thread(self._lab.lineage.set_best, self._state.incumbent.candidate)
        self._phase = "working"
        self._do("noise floor", self._yardstick.measure_noise)
        self._do("reader", self._read)
        for experiment in self._state.of_status(Status.PROPOSED):  # filed by a run that died before their review
            self._do(f"review {experiment.id}", self._review, experiment)
        while (reason := self._reason_to_end()) is None:
            self._screen_approved()
            self._ask_for_proposals()
            self._analyse_waves()
            self._validate_promoted()
            self._notice_plateau()
            self._read_hidden_shard()
            self._examine_in_time()
            await self.changed()
            await asyncio.sleep(TOGETHER_SECONDS)
            await self.pace.take_stock()
            await self._make_way()
        await self._settle_down(reason)
        return reason

    async def _settle_down(self, reason: str) -> None:
        """Let what runs end, examine the incumbent if there is one and time, and close the books."""
        self._phase = "draining"
        self._lab.trials.gate.closed.set()
        self._crew.specialists.hush()
        await self._all_done()
        if self._stopping is None and not self._examined and self.pace.exam_seconds() > 0:
            self._lab.trials.gate.closed.clear()
            self._examine()
            await self._all_done()
        if self._stopping is None:
            await self._journal.record(Kind.SESSION_ENDED, str(self.number), {"reason": reason})
        try:
            await asyncio.to_thread(self._lab.scribe.notebook.flush)
        except IndexBroken as error:  # its pages are in the log all the same
            self._crew.say(f"the notebook is searched by words alone until its index is made again: {error}")

    def _examine_in_time(self) -> None:
        """Hold the closing examination beside the last screening trials, when no validation fits any more."""
        validating = any(name.startswith("validate ") for name in self._busy)
        if not self._examined and not validating and not self.pace.may_validate() and self.pace.exam_seconds() > 0:
            self._examine()

    def _examine(self) -> None:
        pairs = self.pace.ablation_pairs()
        self._examined = self.pace.examining = True
        self._phase = "closing examination"
        self._do("examination", self._closing, pairs)

    async def _closing(self, pairs: int) -> None:
        """Take the incumbent apart where there is time for it, then examine what is left."""
        if pairs:
            self._crew.say("ablation: each kept change of the incumbent is taken out in turn")
            await self._ablation.take_apart(pairs)
        await self._yardstick.examine(EXAM_PAIRS)

    def _read_hidden_shard(self) -> None:
        """Have every new incumbent scored on the hidden shard, once."""
        for name in self._state.incumbents[1:]:
            experiment = self._state.experiments[name]
            if name not in self._unveiled and not experiment.hidden_seeds and self.pace.may_validate():
                self._unveiled.add(name)
                self._do(f"hidden shard {name}", self._yardstick.read_hidden_shard, experiment)

    async def _all_done(self) -> None:
        while self._busy:
            await asyncio.wait(self._busy.values())
            await asyncio.sleep(0)
        await self._lab.trials.settled()

    # ---- doing things -----------------------------------------------------------------------------------

    def _do(self, name: str, work: Callable[..., Coroutine[Any, Any, None]], *about: Any) -> None:
        """Do something in the background, once at a time per name; Draining ends it quietly."""
        if name not in self._busy:
            self._busy[name] = self._group.create_task(self._quietly(name, work, *about), name=name)

    async def _quietly(self, name: str, work: Callable[..., Coroutine[Any, Any, None]], *about: Any) -> None:
        try:
            await work(*about)
        except Draining:
            return
        finally:
            del self._busy[name]  # before anybody is woken: it is not being done any more
            await self._journal.wake()

    async def _recover(self) -> None:
        """After a death: forget what was only wished for, keep what runs."""
        manager = self._crew.desk.manager
        for waiting in await self._crew.desk.call(manager.queue):
            if waiting.session == self._state.session:
                await self._crew.desk.call(manager.withdraw, waiting.request_id)
        held = await self._crew.desk.call(manager.held_by, self._state.session)
        running = [lease for lease in held if lease.request_id in self._state.live_trials]
        await self._crew.desk.call(manager.heartbeat, [lease.token for lease in running])
        for lease in held:
            if lease not in running:
                await self._crew.desk.reclaim(lease.token)  # nothing was started under it
        if self.number > 1:
            for experiment in await asyncio.to_thread(self._lately_over):
                await self._lifecycle.steps.conclude(experiment)
            given_back = len(held) - len(running)
            self._crew.say(f"recovered: {len(running)} trials re-attached, {given_back} leases given back")

    def _lately_over(self) -> list[Experiment]:
        """Experiments that ended in the last events on record: a death may have kept their pages from the notebook."""
        events = self._journal.ledger.events(self._state.session, after=self._state.seq - LATELY)
        moved = dict.fromkeys(event.experiment for event in events if event.kind is Kind.MOVED)
        experiments = [self._state.experiments[name] for name in moved if name is not None]
        return [experiment for experiment in experiments if experiment.is_final and experiment.trials]

    def _screen_approved(self) -> None:
        for experiment in self._state.of_status(Status.APPROVED, Status.SCREENING):
            self._do(f"screen {experiment.id}", self._lifecycle.screen, experiment.id)
        for experiment in self._state.of_status(Status.VALIDATING) if self.pace.may_validate() else ():
            self._do(f"validate {experiment.id}", self._lifecycle.validate, experiment.id)

    async def _make_way(self) -> None:
        """End trials of lower tiers whose slots a tier that preempts waits for."""
        if self._keepers.held or not any(tier.preempt for tier in self._lab.settings.tiers.values()):
            return
        for lease in await self._crew.desk.call(self._crew.desk.manager.make_way):
            if lease.request_id in self._state.live_trials:
                self._do(f"end {lease.request_id}", self._lab.trials.give_way, lease.request_id)

    def _reason_to_end(self) -> str | None:
        if self._stopping is not None:
            return self._stopping
        limit = self._lab.settings.limits.experiments
        if limit is not None and self._state.begun() >= limit:
            return None if self._open_work() else f"all {limit} experiments are done"
        if self._backlog.exhausted and not self._busy and not self._open_work():
            return "the proposers have nothing more to propose"
        return self._out_of_patience() or self.pace.reached()

    @property
    def _is_impatient(self) -> bool:
        patience = self._lab.settings.limits.patience
        return patience is not None and self._state.barren >= patience

    def _out_of_patience(self) -> str | None:
        """Why it is not worth going on; nothing new is asked for then, and what was begun is decided first."""
        if not self._is_impatient or self._state.count(*(status for status in OPEN if status is not Status.HELD)):
            return None
        patience = self._lab.settings.limits.patience
        return f"no gain was confirmed in {self._state.barren} experiments (--patience {patience})"

    def _notice_plateau(self) -> None:
        known = self._state.plateau.level if self._state.plateau else 0
        if plateau.level(self._state.barren, self._lab.settings.waves.size) > known:
            self._do("widen", self._widen, known + 1)

    async def _widen(self, level: int) -> None:
        """Say that there is a plateau, and look for new directions; proposers see it in their next brief."""
        data = {"level": level, "experiments": self._state.barren}
        await self._lab.scribe.plateau(self._state.plateaus + 1, self._state.incumbent, self._state.barren)
        await self._journal.record(Kind.PLATEAU, str(self._state.plateaus + 1), data)
        knobs = await self._lab.observer.knobs(self._state.incumbent.candidate)
        await self._crew.specialists.widen(level, sorted(derive_ranges(knobs, self._lab.task.ranges)))

    def _open_work(self) -> bool:
        unread = bool(self._state.unread_waves)
        return bool(self._busy.keys() - {"reader", "widen"}) or self._state.count(*OPEN) > 0 or unread

    async def _review(self, experiment: Experiment) -> None:
        await self._lifecycle.settle(experiment)

    @property
    def _thinking(self) -> bool:
        """Whether there is still time to think."""
        return self._phase not in ("draining", "closing examination")

    def _ask_for_proposals(self) -> None:
        if self._is_impatient:
            return
        busy = [thinker for thinker in range(self._crew.thinkers) if f"proposer {thinker}" in self._busy]
        for ask in self._backlog.asks(busy):
            self._do(f"proposer {ask.thinker}", self._backlog.think, ask)

    async def _read(self) -> None:
        knobs = await self._lab.observer.knobs(self._state.baseline.candidate)
        await self._crew.specialists.read(sorted(derive_ranges(knobs, self._lab.task.ranges)))

    # ---- analysis and validation --------------------------------------------------------------------------

    def _analyse_waves(self) -> None:
        """Analyse the waves of which all has been proposed and screened."""
        if not self._state.unread_waves and not self._state.unreflected_waves:
            return
        if self._lab.observer.screening_noise() is None:
            return  # the noise floor is still being measured
        screening = {experiment.wave for experiment in self._state.of_status(*UNSCREENED)}
        screening |= self._backlog.waves
        for wave in self._state.unread_waves:
            if wave not in screening:
                self._do(f"analyse {wave}", self._analyse, wave)
        for wave in self._state.unreflected_waves if self._thinking else ():
            self._do(f"reflect on {wave}", self._reflect, wave)

    async def _analyse(self, name: str) -> None:
        entry = await self._crew.specialists.analyse(await self._report(name))
        await self._journal.record(Kind.WAVE_ANALYSED, name, {"entry": entry})

    async def _reflect(self, name: str) -> None:
        await self._crew.specialists.reflect(await self._report(name))
        if self._thinking:  # hushed thoughts are thought when it goes on
            await self._journal.record(Kind.WAVE_REFLECTED, name, {})

    async def _report(self, name: str) -> WaveReport:
        wave = self._state.waves[name]
        return WaveReport(
            session=self._state.session,
            task=self._lab.task,
            wave=name,
            design=wave.design,
            baseline=await self._lab.observer.knobs(wave.parent),
            observations=await self._lab.observer.observations(),
            noise=self._lab.observer.screening_noise(),
        )

    def _validate_promoted(self) -> None:
        """Validate the most promising first, as many at once as there are slots for; waves are awaited whole, but
        for what waits for a person.
        """
        coming = [status for status in UNSCREENED if status is not Status.HELD]
        screening = {experiment.wave for experiment in self._state.of_status(*coming) if experiment.wave}
        ready = []
        for experiment in self._state.of_status(Status.PROMOTED):
            if experiment.verdict["against"] != self._state.incumbent.id:
                self._do(f"reconsider {experiment.id}", self._lifecycle.reconsider, experiment)
            elif experiment.wave not in screening or self.pace.short_of_time():
                ready.append(experiment)
        running = sum(name.startswith("validate ") for name in self._busy)
        at_once = max(1, len(self._crew.slots) // (2 * self._lab.settings.promotion.min_pairs))
        ready.sort(key=lambda experiment: -float(experiment.verdict["gain"]))
        for experiment in ready[: max(0, at_once - running)] if self.pace.may_validate() else ():
            self._do(f"validate {experiment.id}", self._lifecycle.validate, experiment.id)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to tell: a SwarmError where there is one, else the first."""
    told, rest = group.split(SwarmError)
    error: BaseException = told if told is not None else group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    del rest
    return error
