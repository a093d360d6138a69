"""Where a session's trials run: on this machine, or on clusters."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

from swarm.assemble.choice import Choice
from swarm.assemble.orphans import Reaper, Say, end_orphans
from swarm.assemble.stores import data_folder
from swarm.errors import InputError
from swarm.executors.local import LocalExecutor
from swarm.executors.preflight import Preflight
from swarm.executors.sky.cloud import OpenCloud
from swarm.executors.sky.executor import SkyExecutor
from swarm.executors.sky.prices import priced
from swarm.executors.sky.sdk import SkySdk
from swarm.hardware import NvmlGpus, local_slots, own_processes
from swarm.home import Home
from swarm.leases.desk import LeaseDesk
from swarm.leases.guard import Guard
from swarm.leases.lease import Tier
from swarm.ports import Executor, Slot, SystemClock

SKY_LOG = "skypilot.log"  # in the session's folder: what SkyPilot says itself


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """An executor, ready, and its slots, registered."""

    executor: Executor
    slots: Sequence[Slot]
    preflight: Preflight | None = None  # None: a first step would need the data here


@asynccontextmanager
async def opened_workplace(
    home: Home, choice: Choice, desk: LeaseDesk, tiers: Sequence[Tier], say: Say, *, sky: OpenCloud = SkySdk
) -> AsyncIterator[Workplace]:
    """The place that the session's settings ask for; clusters are torn down when it is closed.

    What other sessions of the home left running when they died is ended first, and what those leave that die
    meanwhile. Sessions that are worked on share its slots. Raises InputError, CloudError.
    """
    await end_orphans(home, desk, choice.name, say, sky)
    reaper = asyncio.create_task(Reaper(home, desk, choice.name, SystemClock(), say).run(), name="reaper")
    try:
        async with _opened(home, choice, desk, tiers, say, sky=sky) as place:
            yield place
    finally:
        reaper.cancel()
        await asyncio.wait([reaper])


@asynccontextmanager
async def _opened(
    home: Home, choice: Choice, desk: LeaseDesk, tiers: Sequence[Tier], say: Say, *, sky: OpenCloud
) -> AsyncIterator[Workplace]:
    beside = bool(home.at_work() - {choice.name})
    if choice.settings.executor == "local":
        slots = local_slots(choice.settings.slots, choice.task)
        await desk.call(desk.manager.register, slots, tiers, beside=beside)
        if any(slot.device is not None for slot in slots):
            desk.before_grant = Guard(desk.manager, NvmlGpus(), say, ours=own_processes).look
        folder, data = home.session(choice.name), data_folder()
        with (
            closing(LocalExecutor(folder / "trials", data)) as local,
            closing(Preflight(folder / "preflight", data, choice.task)) as preflight,
        ):
            await local.prepare(choice.task, say)
            yield Workplace(executor=local, slots=slots, preflight=preflight)
        return
    if not choice.settings.pool:
        raise InputError(
            "executor 'sky' has no accelerators: name some in swarm.toml, e.g. [[pool]] accelerators = \"H100:1\""
        )

    async def tell(names: Sequence[str], why: str | None) -> None:
        for name in names:
            await desk.call(desk.manager.set_unavailable, name, why)

    folder = home.session(choice.name)
    folder.mkdir(parents=True, exist_ok=True)
    cloud = sky(folder / SKY_LOG)
    clusters = SkyExecutor(
        cloud,
        home.root,
        choice.name,
        await asyncio.to_thread(priced, cloud, choice.settings.pool, say),
        experiment=choice.settings.experiment,
        tell=tell,
    )
    await desk.call(desk.manager.register, clusters.slots, tiers, beside=beside)
    try:
        await clusters.prepare(choice.task, say)
        yield Workplace(executor=clusters, slots=clusters.slots)
    finally:
        say("tearing down the clusters")
        await clusters.close()
