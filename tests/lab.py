"""A whole session on fakes of what is slow: virtual time, an objective instead of training, specialists by script.

The ledger, the leases, the notebook, git and the session itself are the real ones.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from notebook_store.notebook import Notebook
from swarm.config import Limits, PromotionSettings, Settings
from swarm.executors.simulated import Course, SimulatedExecutor, lost
from swarm.executors.virtual_time import VirtualClock
from swarm.journal import Journal
from swarm.leases.desk import LeaseDesk
from swarm.leases.manager import LeaseManager
from swarm.observer import Observer
from swarm.ports import Brief, Slot, TrialOrder, WaveReport
from swarm.research.experiment import Experiment, Knob, Proposal, Review, ReviewVerdict
from swarm.research.knobs import read_knobs, set_knobs
from swarm.research.ledger import Ledger
from swarm.research.lineage import Lineage
from swarm.session import Session
from swarm.wiring import Parts, Team, tiers_of, wired
from tests.fake_embedder import WordEmbedder
from tests.fakes import completed
from trainer.contract import Outcome, Task, load_task

TRAIN = "X = 1.0\nY = 1.0\nZ = 1.0\n"
TASK = """\
name = "bowl"
editable = "train.py"
metric = "loss"

[budgets]
screen = { wall = 6 }
validate = { wall = 20 }
"""


def bowl(order_source: str) -> float:
    """A loss with its minimum, 1.0, at X=3, Y=2, whatever Z."""
    knobs = read_knobs(order_source)
    return 1.0 + 0.1 * (float(knobs["X"]) - 3) ** 2 + 0.1 * (float(knobs["Y"]) - 2) ** 2


@dataclass
class Script:
    """Specialists by script: hill-climbing proposals, no readings, one-line findings."""

    proposals: int = 10_000  # how many it makes in all
    waves: list[str] = field(default_factory=list)  # analysed
    made: int = 0
    widened: list[int] = field(default_factory=list)  # levels of plateaus
    journal: Journal | None = None  # of the session it works in
    silences: int = 0  # so many calls bring nothing, before the others bring something

    def at_work(self, journal: Journal) -> "Script":
        """Itself, in a session."""
        self.journal = journal
        return self

    async def propose(self, brief: Brief) -> list[Proposal]:
        if self.silences:
            self.silences -= 1
            return []
        draw = random.Random(brief.seed)
        found = []
        for _ in range(min(brief.wanted, self.proposals - self.made)):
            name = draw.choice(["X", "Y"])
            changes: dict[str, Knob] = {name: round(float(brief.knobs[name]) + draw.uniform(-1, 1), 3)}
            found.append(
                Proposal(
                    author="proposer",
                    hypothesis=f"{name} {brief.knobs[name]}→{changes[name]} lowers loss",
                    parent=brief.parent,
                    source=set_knobs(brief.source, changes),
                    changes=changes,
                    wave=brief.wave,
                )
            )
        self.made += len(found)
        return found

    @property
    def exhausted(self) -> bool:
        return self.made >= self.proposals

    async def review(self, experiment: Experiment, proposal: Proposal) -> Review:
        return Review(verdict=ReviewVerdict.APPROVED, reasons=("it compiles",))

    async def read(self, factors: Sequence[str]) -> None:
        assert "X" in factors

    async def analyse(self, report: WaveReport) -> str:
        self.waves.append(report.wave)
        return f"{report.session}-{report.wave}"

    async def reflect(self, report: WaveReport) -> None:
        return

    async def widen(self, level: int, factors: Sequence[str]) -> None:
        self.widened.append(level)

    def hush(self) -> None:
        return

    async def close(self) -> None:
        return


@dataclass(kw_only=True)
class Bench:
    """One home on fakes. ``session()`` gives a session over it; call it again after a death."""

    root: Path
    clock: VirtualClock
    executor: SimulatedExecutor
    script: Script
    settings: Settings
    slots: Sequence[Slot]
    task: Task
    said: list[str] = field(default_factory=list)

    @property
    def sources(self) -> dict[str, str]:
        """Trial id -> the file it ran."""
        return {name: order.source for name, order in self.executor.orders.items()}

    def wish(self, wish: str, session: str = "bowl-1") -> None:
        """What `swarm stop`, `pause` and `resume` leave for the session's process."""
        ledger = Ledger(self.root / "ledger.db")
        ledger.wish(session, wish, at=self.clock.now())
        ledger.close()

    def noted_phase(self, session: str = "bowl-1") -> str:
        """What the session's process last said it was doing."""
        ledger = Ledger(self.root / "ledger.db")
        phase = ledger.phase(session)
        ledger.close()
        return phase

    def last_pulse(self, session: str = "bowl-1") -> float:
        """When the session's process was last seen to live, unix seconds."""
        ledger = Ledger(self.root / "ledger.db")
        pulses = ledger.pulses(session)
        ledger.close()
        return max(pulses.values())

    def team(self, observer: Observer, journal: Journal, notebook: Notebook) -> Team:
        """The specialists of a session."""
        return self.script.at_work(journal)

    @contextmanager
    def session(self, name: str = "bowl-1") -> Iterator[Session]:
        ledger = Ledger(self.root / "ledger.db")
        manager = LeaseManager(self.root / "leases.db", self.clock)
        manager.register(self.slots, tiers_of(self.settings))
        with Notebook.open(self.root / "notebook", embedder=WordEmbedder()) as notebook:
            yield wired(
                Parts(
                    name=name,
                    task=self.task,
                    settings=self.settings,
                    clock=self.clock,
                    ledger=ledger,
                    desk=LeaseDesk(manager),
                    executor=self.executor,
                    slots=self.slots,
                    notebook=notebook,
                    candidates=Lineage(self.root / name / "repo.git", self.task.editable),
                    team=lambda observer, journal: self.team(observer, journal, notebook),
                    say=self.said.append,
                )
            )
        manager.close()
        ledger.close()

    def worked(self) -> tuple[str, Session]:
        """Run a session to its end: why it ended, and the session."""
        with self.session() as session:
            return self.clock.run(session.run()), session


def bench(
    root: Path,
    *,
    limits: Limits,
    slots: int = 2,
    noise: float = 0.01,
    objective: Callable[[str], float | None] = bowl,
    proposals: int = 10_000,
    promotion: PromotionSettings | None = None,
) -> Bench:
    """A home with the bowl task, ``slots`` CPU slots and an objective with seeded noise."""
    folder = root / "bowl"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(TRAIN)
    (folder / "task.toml").write_text(TASK)
    clock = VirtualClock()

    def course(order: TrialOrder) -> Course:
        value = objective(order.source)
        jitter = random.Random(order.trial_id).gauss(0, noise)
        result = lost(order, Outcome.CRASHED, "as the test asked")
        if value is not None:
            result = completed(order, value + jitter, holdout=value if order.holdout else None)
        return Course(seconds=order.budget.amount + 2, result=result)

    executor = SimulatedExecutor(clock, course)
    return Bench(
        root=root,
        clock=clock,
        executor=executor,
        script=Script(proposals=proposals),
        settings=Settings(limits=limits, promotion=promotion or PromotionSettings()),
        slots=[Slot(name=f"cpu-{n}", accelerator="cpu") for n in range(slots)],
        task=load_task(folder),
    )
