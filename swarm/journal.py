"""A session's ledger and its state, kept in step: what is recorded has happened, what happened is recorded."""

import asyncio

from swarm.ports import Clock
from swarm.research.experiment import Experiment, Json, Move
from swarm.research.ledger import Kind, Ledger
from swarm.research.state import SessionState

REMEMBERED = 2000  # experiments that are over and still kept ready in memory


class Journal:
    """The one writer of a session's events. Used from one event loop."""

    def __init__(self, ledger: Ledger, session: str, clock: Clock) -> None:
        self.ledger = ledger
        self.session = session
        self.clock = clock
        self.state = SessionState.replay(session, ledger.events(session), remembered=REMEMBERED)
        self._writing = asyncio.Lock()
        self._changed = asyncio.Condition()

    async def record(self, kind: Kind, key: str, data: Json, *, experiment: str | None = None) -> bool:
        """Write one event and apply it; False when it had happened before. Raises DiskFull, IllegalTransition.

        Cancelling the caller does not part the two: what was begun to be written is also applied, and when that
        fails its error is raised in place of the cancellation, so that it is told.
        """
        writing = asyncio.create_task(self._record(kind, key, data, experiment))
        try:
            return await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            writing.result()
            raise

    async def _record(self, kind: Kind, key: str, data: Json, experiment: str | None) -> bool:
        async with self._writing:
            event = await asyncio.to_thread(
                self.ledger.append,
                self.session,
                kind,
                key,
                at=self.clock.now(),
                data=data,
                experiment=experiment,
            )
            if event is not None:
                self.state.apply(event)
        await self.wake()
        return event is not None

    async def move(
        self,
        experiment: Experiment,
        move: Move,
        *,
        reasons: tuple[str, ...] = (),
        verdict: Json | None = None,
        candidate: str | None = None,
        parent: str | None = None,
    ) -> Experiment:
        """Make a legal move of an experiment. Raises IllegalTransition before anything is written."""
        experiment.advance(move)
        data = {
            "move": move,
            "reasons": reasons,
            "verdict": verdict,
            "candidate": candidate,
            "parent": parent,
        }
        await self.record(Kind.MOVED, f"{experiment.id}/{experiment.moves}", data, experiment=experiment.id)
        return self.state.experiments[experiment.id]

    async def wake(self) -> None:
        """Let everyone who waits for a change look again."""
        async with self._changed:
            self._changed.notify_all()

    async def change(self, timeout: float | None = None) -> None:
        """Wait for the next change of the state, or for ``timeout`` seconds of the loop's time."""
        async with self._changed:
            try:
                async with asyncio.timeout(timeout):  # not wait_for, which may swallow a cancellation
                    await self._changed.wait()
            except TimeoutError:
                return
