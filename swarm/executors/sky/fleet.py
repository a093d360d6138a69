"""Keeps a session's clusters: starts them, waits out a lack of machines, notices the dead, leaves none behind."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from swarm.errors import InputError
from swarm.executors.sky.cloud import BadCloudConfig, Cloud, CloudError, JobState
from swarm.executors.sky.recipe import Recipe
from swarm.executors.sky.registry import Berth, Record, Registry, tear_down
from swarm.executors.sky.threads import beside

_TEAR_DOWNS = 5  # attempts when a session ends

Tell = Callable[
    [Sequence[str], str | None], Awaitable[None]
]  # slots, and why they are unavailable (None: they are available)
Say = Callable[[str], None]  # one line of progress for a person


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for what, in seconds of the machine's clock."""

    first_retry: float = 15.0  # after a cluster could not be started; doubles each time
    last_retry: float = 600.0  # at most
    watch: float = 300.0  # between two looks at clusters that nobody had trouble with: each takes many CPU-seconds
    again: float = 3.0  # before a call that failed is made again


class Cluster:
    """One cluster of the fleet, through all its lives.

    SkyPilot knows each life by a name of its own: what is left of one where its machine died (a queue of jobs, in a
    home that machines share) is not in the way of the next.
    """

    def __init__(self, berth: Berth) -> None:
        self.name = berth.name
        self.berth = berth
        self.slots = [slot.name for slot in berth.slots]
        self.life = ""  # SkyPilot's name of the present life; a trial belongs to one
        self.settled = asyncio.Event()  # it is known whether a life that an earlier run left goes on
        self.up = asyncio.Event()
        self.suspected = asyncio.Event()  # somebody had trouble with it
        self.condemned = False  # so much trouble that it is to be replaced, up or not
        self._over = asyncio.Event()  # the present life is over, and nothing of it runs any more

    def begin(self, life: str) -> None:
        """A life begins, or that of an earlier run goes on."""
        self.life, self._over = life, asyncio.Event()
        self.condemned = False
        self.settled.set()

    def end(self) -> None:
        """The present life is over: nothing of it runs any more."""
        self.life = ""
        self._over.set()

    async def end_of(self, life: str) -> None:
        """Wait until nothing of that life runs any more."""
        await self.settled.wait()
        if life and life == self.life:
            await self._over.wait()

    def suspect(self, *, condemn: bool = False) -> None:
        """Have it looked at; ``condemn``: have it replaced even if it looks well."""
        self.condemned = self.condemned or condemn
        self.suspected.set()


class Fleet:
    """All clusters of a session, each looked after by a task of its own."""

    def __init__(
        self, cloud: Cloud, registry: Registry, berths: Sequence[Berth], *, session: str, tell: Tell, patience: Patience
    ) -> None:
        self.clusters = {berth.name: Cluster(berth) for berth in berths}
        self._cloud = cloud
        self._registry = registry
        self._session = session
        self._tell = tell
        self._patience = patience
        self._opened = False
        self._keepers: list[asyncio.Task[None]] = []
        self._faults: dict[str, CloudError] = {}  # cluster -> why it is not up
        self._news = asyncio.Event()

    def of_slot(self, slot: str) -> Cluster:
        """The cluster that a slot is part of."""
        return next(cluster for cluster in self.clusters.values() if slot in cluster.slots)

    async def open(self, recipe: Recipe, say: Say) -> None:
        """Start all clusters and return when one is up; the others follow. A second call only waits.

        Clusters of an earlier run of the session are taken over. Raises InputError when none can ever be up as
        configured.
        """
        if not self._opened:
            self._opened = True
            for cluster in self.clusters.values():
                await self._tell(cluster.slots, "its cluster is being started")
            await self._clear(say)
            self._keepers = [
                asyncio.create_task(self._keep(cluster, recipe, say), name=f"cluster {cluster.name}")
                for cluster in self.clusters.values()
            ]
            for keeper in self._keepers:
                keeper.add_done_callback(lambda _: self._news.set())
        while not any(cluster.up.is_set() for cluster in self.clusters.values()):
            self._news.clear()
            if len(self._faults) == len(self.clusters) and all(
                isinstance(fault, BadCloudConfig) for fault in self._faults.values()
            ):
                raise InputError(f"no cluster can be started: {next(iter(self._faults.values()))}")
            await self._news.wait()
            for keeper in self._keepers:
                if keeper.done():
                    keeper.result()  # a keeper ends only by an error that is no cluster's, such as a full disk

    async def close(self) -> None:
        """Tear everything down; nothing that the home started is left when this returns. Raises CloudError."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(self._last_tear_down(record.cluster) for record in self._registry.all()))

    # ── one cluster ───────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self, cluster: Cluster, recipe: Recipe, say: Say) -> None:
        wait = self._patience.first_retry
        while True:
            began = time.monotonic()
            try:
                await self._start(cluster, recipe, say)
            except CloudError as error:
                self._faults[cluster.name] = error
                self._news.set()
                await self._tell(cluster.slots, f"{error}; tried again in {wait:g} s")
                say(f"{cluster.name} is not available: {error}; tried again in {wait:g} s")
                await self._tear_down(cluster.life)  # a cluster that came up and failed to set up costs money
                cluster.end()
                await asyncio.sleep(wait)
                wait = min(2 * wait, self._patience.last_retry)
                continue
            wait = self._patience.first_retry
            self._faults.pop(cluster.name, None)
            say(f"{cluster.name} is up after {time.monotonic() - began:.0f} s")
            cluster.up.set()
            self._news.set()
            await self._tell(cluster.slots, None)
            await self._until_lost(cluster)
            cluster.up.clear()
            await self._tell(cluster.slots, "its cluster was lost and is being started anew")
            say(f"{cluster.name} was lost; its trials run again elsewhere or when it is back")
            await self._tear_down(cluster.life)
            cluster.end()

    async def _start(self, cluster: Cluster, recipe: Recipe, say: Say) -> None:
        """Bring a cluster up, or take over the one that an earlier run left. Raises CloudError."""
        if record := self._registry.of(cluster.name):
            if record.ready and await self._is_up(record.cluster):
                say(f"{cluster.name} is taken over from an earlier run")
                cluster.begin(record.cluster)
                return
            await self._tear_down(record.cluster)
        cluster.begin(f"{cluster.name}-{uuid.uuid4().hex[:6]}")
        mine = Record(cluster=cluster.life, berth=cluster.name, session=self._session, ready=False)
        self._registry.put(mine)
        pool = cluster.berth.pool
        loop = asyncio.get_running_loop()

        def hear(line: str) -> None:
            loop.call_soon_threadsafe(say, f"{cluster.name}: {line}")

        opening = recipe.opening(cluster.life, pool)
        job = await beside(self._cloud.launch, cluster.life, opening, autostop_minutes=pool.autostop)
        said = await beside(self._cloud.follow, cluster.life, job, hear)
        if await beside(self._cloud.state, cluster.life, job) is not JobState.SUCCEEDED:
            lines = [line.strip() for line in said.splitlines() if line.strip()]
            raise BadCloudConfig(f"its setup failed: {lines[-1] if lines else 'it printed nothing'}")
        self._registry.put(replace(mine, ready=True))

    async def _until_lost(self, cluster: Cluster) -> None:
        while not cluster.condemned:
            try:
                async with asyncio.timeout(self._patience.watch):
                    await cluster.suspected.wait()
            except TimeoutError:
                pass
            cluster.suspected.clear()
            if not await self._is_up(cluster.life):
                return

    async def _is_up(self, name: str) -> bool:
        """Ask the infrastructure until it answers."""
        while True:
            try:
                return name in await beside(self._cloud.up, [name])
            except CloudError:
                await asyncio.sleep(self._patience.again)

    # ── tearing down ──────────────────────────────────────────────────────────────────────────────────────

    async def _clear(self, say: Say) -> None:
        """Tear down clusters of an earlier run that are configured no more."""
        for record in self._registry.all():
            if record.berth not in self.clusters:
                say(f"tearing down {record.cluster}, which no [[pool]] asks for any more")
                await self._tear_down(record.cluster)

    async def _tear_down(self, name: str) -> None:
        """Tear a cluster down, however often it takes."""
        while True:
            try:
                return await beside(tear_down, self._cloud, self._registry, name)
            except CloudError:
                await asyncio.sleep(self._patience.again)

    async def _last_tear_down(self, name: str) -> None:
        """Tear a cluster down, and give up in the end: it stays on record. Raises CloudError."""
        for _ in range(_TEAR_DOWNS):
            try:
                return await beside(tear_down, self._cloud, self._registry, name)
            except CloudError as error:
                why = error
                await asyncio.sleep(self._patience.again)
        raise CloudError(f"{name} could not be torn down: {why}; try `swarm doctor --fix` before it costs more")
