"""One trial as a job in a cluster's queue: placed, queued, followed to its end, brought home.

Its folder here says where it runs (``placed.json``) and how it ended (``result.json``). Whoever finds the first without
the second goes on where another left off: a job is queued once, known by its name, and runs once even if queued twice.
"""

import asyncio
import json
from collections.abc import Awaitable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from swarm.executors.folders import disk_full_said
from swarm.executors.sky.cloud import BadCloudConfig, Cloud, CloudError, Config, NoAnswer
from swarm.executors.sky.fleet import Cluster, Patience
from swarm.executors.sky.threads import beside
from trainer import contract
from trainer.contract import Outcome, TrialResult, parcel

_PLACED = "placed.json"
_JOB = "job.json"  # SkyPilot's task for it
_TRIES = 5  # troubles in a row before the cluster is given up


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a trial runs."""

    cluster: str  # of the fleet
    life: str  # of the cluster: what SkyPilot calls it
    job: int | None = None  # SkyPilot's number of it; None: not known to be queued


class TrialJob:
    """A trial, from its placing to its result."""

    def __init__(self, cloud: Cloud, folder: Path, cluster: Cluster, patience: Patience) -> None:
        self.folder = folder
        self._cloud = cloud
        self._cluster = cluster
        self._patience = patience
        self._place = Place(cluster=cluster.name, life=cluster.life)
        self._fresh = False  # nobody can have queued it yet
        self._cancelled = False
        self._placed = asyncio.Event()
        self._queued = asyncio.Event()
        self._end: asyncio.Task[TrialResult] | None = None

    def start(self, config: Config) -> None:
        """Place the trial and see it through."""
        self._fresh = True
        self._end = asyncio.create_task(self._see_through(config), name=f"trial {self.folder.name}")

    def take_over(self, place: Place) -> None:
        """See a trial through that an earlier run placed."""
        self._place = place
        self._end = asyncio.create_task(self._see_through(None), name=f"trial {self.folder.name}")

    async def placed(self) -> None:
        """Return when the trial is on record here. Raises DiskFull."""
        assert self._end is not None
        await first(self._end, self._placed.wait())
        if not self._placed.is_set():
            await self._end

    async def result(self) -> TrialResult:
        """Wait for the trial's end. Raises DiskFull."""
        assert self._end is not None
        return await asyncio.shield(self._end)

    async def cancel(self) -> None:
        """End the job, and when that cannot be done its cluster; returns when the trial has ended."""
        assert self._end is not None
        self._cancelled = True
        await first(self._end, self._queued.wait())
        for attempt in range(_TRIES):
            if self._end.done() or self._place.job is None:
                break
            try:
                await beside(self._cloud.cancel, self._place.life, self._place.job)
                break
            except CloudError:
                self._cluster.suspect(condemn=attempt == _TRIES - 1)
                await first(self._end, asyncio.sleep(self._patience.again))
        await self.result()

    def abandon(self) -> None:
        """See it through no more: the session ends."""
        if self._end is not None:
            self._end.cancel()

    # ── seeing it through ─────────────────────────────────────────────────────────────────────────────────

    async def _see_through(self, config: Config | None) -> TrialResult:
        """The trial's one result, whatever becomes of its cluster."""
        with disk_full_said(self.folder.parent):
            if config is not None:
                await asyncio.to_thread(self._put_on_record, config)
            self._placed.set()
            if result := contract.read_result(self.folder):
                return result
            job = asyncio.create_task(self._drive())
            lost = asyncio.create_task(self._cluster.end_of(self._place.life))
            try:
                await asyncio.wait({job, lost}, return_when=asyncio.FIRST_COMPLETED)
                return job.result() if job.done() else self._close(f"its cluster {self._place.life} was lost")
            finally:
                job.cancel()
                lost.cancel()

    async def _drive(self) -> TrialResult:
        """Queue the job if it is not yet, wait for its end, read what it printed."""
        await self._cluster.up.wait()
        troubles = 0
        while True:
            try:
                if self._place.job is None and not await self._queue():
                    return self._close("cancelled before it began")
                if result := await self._follow():
                    return result
                troubles = 0
            except BadCloudConfig as error:
                return self._close(str(error))
            except NoAnswer:
                pass  # the cluster is not to blame
            except CloudError:
                troubles += 1
                self._cluster.suspect(condemn=troubles >= _TRIES)
            await asyncio.sleep(self._patience.again)

    async def _queue(self) -> bool:
        """See that the job is queued and its number known; False when it shall not be. Raises CloudError."""
        job = None
        if not self._fresh:  # an earlier run, or a call that failed, may have queued it
            job = await beside(self._cloud.find, self._place.life, self.folder.name)
        self._fresh = False
        if job is None:
            if self._cancelled:
                return False
            config = json.loads((self.folder / _JOB).read_text(encoding="utf-8"))
            job = await beside(self._cloud.submit, self._place.life, config)
        self._place = replace(self._place, job=job)
        await asyncio.to_thread(self._note_place)
        return True

    async def _follow(self) -> TrialResult | None:
        """What came of the job; None while it goes on. Raises CloudError."""
        name, job = self._place.life, self._place.job
        assert job is not None
        self._queued.set()
        said = await beside(self._cloud.follow, name, job)
        if parcel.found(said) is None:
            state = await beside(self._cloud.state, name, job)
            if not state.over:
                return None
            said = await beside(self._cloud.follow, name, job)  # the last lines may have come late
            if parcel.found(said) is None:
                self._cluster.suspect()
                return self._close(f"its job ended {state} without a result{last_line(said)}")
        return await asyncio.to_thread(self._bring_home, said)

    # ── the folder ────────────────────────────────────────────────────────────────────────────────────────

    def _put_on_record(self, config: Config) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        contract.write_atomically(self.folder / _JOB, json.dumps(config) + "\n")
        self._note_place()

    def _note_place(self) -> None:
        contract.write_atomically(self.folder / _PLACED, json.dumps(asdict(self._place)) + "\n")

    def _bring_home(self, said: str) -> TrialResult:
        """Write down what the job printed of its folder there, the result last."""
        files = parcel.found(said)
        assert files is not None
        for name in (contract.LOG, contract.CURVE):
            contract.write_atomically(self.folder / name, files[name])
        return settle(self.folder, TrialResult.from_json(files[contract.RESULT]))

    def _close(self, why: str) -> TrialResult:
        return settle(self.folder, lost(self.folder, why))


def place_of(folder: Path) -> Place | None:
    """Where the trial of a folder was placed; None when it was not."""
    try:
        return Place(**json.loads((folder / _PLACED).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def lost(folder: Path, why: str) -> TrialResult:
    """The result of a trial that brought nothing home."""
    return TrialResult(trial_id=folder.name, outcome=Outcome.PREEMPTED, message=why)


def settle(folder: Path, result: TrialResult) -> TrialResult:
    """Write a trial's result down, unless it has one; the result that it has."""
    if known := contract.read_result(folder):
        return known
    contract.write_atomically(folder / contract.RESULT, result.to_json())
    return result


async def first(*waits: Awaitable[Any]) -> None:
    """Return when one of these has come about; a task among them goes on, what is no task is given up."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, wait in zip(tasks, waits, strict=True):
            if task is not wait:
                task.cancel()


def last_line(said: str) -> str:
    """The last line somebody said, to go after a message; empty where there was none."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f": {lines[-1]}" if lines else ""
