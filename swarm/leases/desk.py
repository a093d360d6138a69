"""Where the tasks of one event loop wait for their leases."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from swarm.errors import DiskFull, StaleToken, SwarmError
from swarm.leases.lease import Lease, State
from swarm.leases.manager import LeaseManager

P = ParamSpec("P")
T = TypeVar("T")

POLL_SECONDS = 1.0  # of the loop's time: how late a slot freed by another process may be noticed


class LeaseDesk:
    """A LeaseManager for one event loop: nothing blocks, and ``acquire`` waits until a slot is granted.

    One thread does all the file's work, in the order of the calls. Closed doors stop this desk from granting:
    what it holds runs on, what waits keeps waiting.
    """

    def __init__(self, manager: LeaseManager, *, poll_seconds: float = POLL_SECONDS) -> None:
        self.manager = manager
        self.before_grant: Callable[[], None] = _nothing  # called off the loop; may make slots unavailable
        self._poll_seconds = poll_seconds
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="leases")
        self._waiters: dict[str, asyncio.Future[Lease]] = {}
        self._leaving: set[asyncio.Task[None]] = set()  # requests that are being taken out of the queue
        self._changed = asyncio.Event()  # a slot may be free, or somebody new waits
        self._server: asyncio.Task[None] | None = None
        self._open = True

    async def call(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a method of the manager off the loop, e.g. ``await desk.call(desk.manager.heartbeat, tokens)``."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: method(*args, **kwargs))

    async def acquire(
        self,
        request_id: str,
        *,
        tier: str,
        session: str,
        holder: str,
        bid: float = 0.0,
        accelerator: str | None = None,
    ) -> Lease:
        """Wait for a lease. A request granted in an earlier run returns its lease at once.

        Cancelling the waiting task takes the request out of the queue. Raises what ``LeaseManager.request`` raises,
        and SwarmError when the file fails while waiting or another task already waits for this request.
        """
        if request_id in self._waiters:
            raise SwarmError(f"request {request_id} is already waited for; give each trial a request of its own")
        waiter: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        self._waiters[request_id] = waiter
        asked = asyncio.create_task(
            self.call(
                self.manager.request,
                request_id,
                tier=tier,
                session=session,
                holder=holder,
                bid=bid,
                accelerator=accelerator,
            )
        )
        try:
            if known := await asyncio.shield(asked):
                return known
            self._wake()
            return await waiter
        except asyncio.CancelledError:
            waiter.cancel()
            leaving = asyncio.create_task(self._abandon(request_id, asked))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.shield(leaving)
            raise
        finally:
            del self._waiters[request_id]
            if not waiter.cancel() and not waiter.cancelled():
                waiter.exception()  # a file that fails is told to all who wait, and to one who goes just then

    async def kinds(self, tier: str) -> tuple[str, ...]:
        """The kinds of accelerator a tier may use, best first; those with no slot to be had now come last."""
        return await self.call(self.manager.kinds, tier)

    async def note_speed(self, slot: str, steps_per_second: float) -> None:
        """Remember how fast a trial went on a slot."""
        await self.call(self.manager.note_speed, slot, steps_per_second)

    async def validate(self, token: int) -> None:
        """Return when ``token`` owns its slot now. Raises StaleToken."""
        await self.call(self.manager.validate, token)

    async def release(self, token: int) -> None:
        """Give a slot back and serve who waits. Raises StaleToken."""
        await self.call(self.manager.release, token)
        self._wake()

    async def reclaim(self, token: int) -> None:
        """Free the slot of a lease whose trial is confirmed dead, and serve who waits. Raises StaleToken."""
        await self.call(self.manager.reclaim, token)
        self._wake()

    def close_doors(self) -> None:
        """Grant nothing from now on; a grant already under way still arrives."""
        self._open = False

    def open_doors(self) -> None:
        """Grant again."""
        self._open = True
        self._wake()

    async def close(self) -> None:
        """Stop serving, when nobody waits any more. The manager stays open, and so does the queue."""
        if self._server:
            self._server.cancel()
            await asyncio.wait([self._server])
        if self._leaving:
            await asyncio.wait(self._leaving)
        self._thread.shutdown(wait=False)

    def _wake(self) -> None:
        self._changed.set()
        if self._waiters and (self._server is None or self._server.done()):
            self._server = asyncio.create_task(self._serve(), name="lease desk")

    async def _serve(self) -> None:
        """Hand leases to their waiters until nobody waits."""
        try:
            while self._waiters:
                self._changed.clear()
                self._hand_out(await self.call(self._grant) if self._open else [])
                try:
                    async with asyncio.timeout(self._poll_seconds):
                        await self._changed.wait()
                except TimeoutError:  # another process may have granted our requests or freed slots, a slot may be due
                    self._hand_out(await self.call(self.manager.live, set(self._waiters)))
        except SwarmError as error:
            for waiter in self._waiters.values():
                if not waiter.done():
                    waiter.set_exception(error)

    def _grant(self) -> list[Lease]:
        self.before_grant()
        return self.manager.grant()

    def _hand_out(self, leases: list[Lease]) -> None:
        for lease in leases:
            waiter = self._waiters.get(lease.request_id)
            if waiter is None or waiter.done():
                continue
            if lease.state == State.GRANTED:
                waiter.set_result(lease)
            else:
                waiter.set_exception(StaleToken(f"lease {lease.token} expired before its holder saw it; ask again"))

    async def _abandon(self, request_id: str, asked: asyncio.Task[Lease | None]) -> None:
        """Leave the queue, or give back a lease that came at this very moment. An earlier run's lease stays."""
        await asyncio.wait([asked])
        if asked.exception() or asked.result():
            return
        try:
            withdrawn = await self.call(self.manager.withdraw, request_id)
        except DiskFull:
            return  # it stays in line; the session that is resumed takes it out
        for lease in [] if withdrawn else await self.call(self.manager.live, {request_id}):
            if lease.state == State.GRANTED:
                await self.release(lease.token)


def _nothing() -> None:
    """Before a grant there is nothing to look at, unless somebody says so."""
