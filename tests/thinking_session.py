"""A whole session whose specialists think with a scripted model: its hours are virtual, its sockets are real."""

import asyncio
import selectors
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from notebook_store.notebook import Notebook
from papers.library import Library
from swarm.agents.asked import AskedProposer
from swarm.agents.kept import KeptReplies
from swarm.agents.optimizer import OptimizerProposer
from swarm.agents.reader import LiteratureReader
from swarm.agents.reviewer import RuleReviewer
from swarm.assemble.minds import Minds, books_of, teller
from swarm.assemble.team import Team
from swarm.assemble.thinkers import Studio, portfolio_of, thinkers_of
from swarm.config import AgentSettings, Limits, ModelSettings, TierSettings, WaveSettings
from swarm.executors.simulated import SimulatedExecutor
from swarm.executors.virtual_time import VirtualClock, _VirtualLoop
from swarm.journal import Journal
from swarm.observer import Observer
from swarm.research.lineage import Lineage
from tests.fakes.endpoint import Endpoint
from tests.lab import Bench, bench

T = TypeVar("T")
_PATIENCE = 20.0  # real seconds a question may stay on the wire


class WiredClock(VirtualClock):
    """Virtual time that stands still while anything is on the wire."""

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=lambda: _WiredLoop(self)) as runner:
            return runner.run(work)


class _WiredLoop(_VirtualLoop):
    def __init__(self, clock: VirtualClock) -> None:
        self._virtual = clock
        asyncio.SelectorEventLoop.__init__(self, _WiredSelector(clock))


class _WiredSelector(selectors.DefaultSelector):
    """Waits for sockets; where there is none but the loop's own, moves the clock on."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        wired = len(self.get_map()) > 1
        ready = super().select(_PATIENCE if wired and timeout != 0 else 0)
        assert ready or not wired or timeout == 0, "the endpoint says nothing"
        if not ready and timeout:
            self._clock.elapsed += timeout
        return ready


class _NoKernel:
    """In place of the analyst's: a process of its own knows no virtual time."""

    async def close(self) -> None:
        return


@dataclass(kw_only=True)
class ThinkingBench(Bench):
    """A bench whose session is put together as `swarm start` does, but for the analyst, who is of the script."""

    library: Library
    minds: Minds = field(init=False)  # while it is thinking

    def team(self, observer: Observer, journal: Journal, notebook: Notebook) -> Team:
        session, task = journal.state.session, self.task
        tell = teller(journal)
        studio = Studio(
            minds=self.minds,
            books=books_of(journal, self.minds.kept, self.settings.models),
            settings=self.settings,
            session=session,
            task=task,
            notebook=notebook,
            library=self.library,
            kernel=_NoKernel(),  # type: ignore[arg-type] # no analyst thinks here
            lineage=(lineage := Lineage(self.root / session / "repo.git", task.editable)),
            folder=self.root / session,
            clock=self.clock,
            tell=tell,
        )
        return Team(
            asked=AskedProposer(notebook),
            proposer=portfolio_of(studio, OptimizerProposer(notebook, wave_size=self.settings.waves.size)),
            thinkers=thinkers_of(studio),
            tell=tell,
            reviewer=RuleReviewer(),
            reader=LiteratureReader(notebook, self.library, session=session, task=task, clock=self.clock),
            library=self.library,
            analyst=self.script,  # type: ignore[arg-type] # one line a wave
            kernel=_NoKernel(),  # type: ignore[arg-type]
            observer=observer,
            lineage=lineage,
            task=task,
            preflight=None,
            memory_mb=None,
        )

    @contextmanager
    def thinking(self) -> Iterator[None]:
        """Open what the models need, for as long as the block runs."""

        async def opened() -> Minds:
            kept = KeptReplies(self.root / "bowl-1" / "thoughts.db")
            return await Minds.opened(self.settings, kept, self.clock, self.said.append)

        self.minds = asyncio.run(opened())
        try:
            yield
        finally:
            asyncio.run(self.minds.close())

    def worked_thinking(self) -> str:
        """Run the session to its end; why it ended."""
        place = self.root / "sessions" / "bowl-1"
        if not place.is_symlink():
            place.parent.mkdir()
            place.symlink_to(self.root / "bowl-1")  # where a home has what the bench keeps beside it
        with self.thinking():
            return self.worked()[0]


def thinking_bench(
    root: Path,
    server: Endpoint,
    agents: Sequence[AgentSettings | str],
    *,
    limits: Limits,
    proposers: Sequence[str] = (),
    screen_seconds: float = 6.0,
    seed: int = 0,
) -> ThinkingBench:
    """A home with the bowl task, where these agents think; a word is a role's name."""
    made = bench(root, limits=limits)
    (root / "version").write_text("1\n", encoding="ascii")
    clock = WiredClock()
    settings = made.settings.model_copy(
        update={
            "models": ModelSettings(model="scripted", base_url=server.url),
            "agents": tuple(AgentSettings(role=one) if isinstance(one, str) else one for one in agents),
            "proposers": tuple(proposers),
            "waves": WaveSettings(size=4),
            "tiers": {
                "screen": TierSettings(priority=0, budget=screen_seconds),
                "validate": TierSettings(priority=10, budget=2 * screen_seconds),
            },
            "seed": seed,
        }
    )
    papers = Library.open(root / "papers", embedder=None)
    told = {one: getattr(made, one) for one in ("root", "script", "slots", "task")}
    executor = SimulatedExecutor(clock, made.executor._world)
    return ThinkingBench(clock=clock, executor=executor, settings=settings, library=papers, **told)
