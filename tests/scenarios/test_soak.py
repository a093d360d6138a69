"""A session of hundreds of experiments asks as much of its databases for a late one as for an early one."""

import sqlite3
from pathlib import Path

from swarm.bench.simulation import Scenario, simulated
from swarm.config import Limits, Settings
from swarm.executors.simulated import Machines, Score, world
from swarm.ports import Brief, Slot
from swarm.research.experiment import Proposal
from tests.bowl import TASK, TRAIN
from tests.lab import Script, bowl
from trainer.contract import load_task

EXPERIMENTS = 400
STRETCH = 120  # experiments over which the work is counted


class Counting(Script):
    """Notes how many statements the databases ran until each call for proposals."""

    def __init__(self) -> None:
        super().__init__()
        self.statements = 0
        self.noted: list[tuple[int, int]] = []  # (proposals made, statements)

    def listen(self, *databases: sqlite3.Connection) -> None:
        def one_more(_: str) -> None:
            self.statements += 1

        for database in databases:
            database.set_trace_callback(one_more)

    async def propose(self, brief: Brief) -> list[Proposal]:
        self.noted.append((self.made, self.statements))
        return await super().propose(brief)

    def work(self, first: int) -> float:
        """Statements a proposal, over a stretch that begins with the ``first`` one."""
        begin = next(note for note in self.noted if note[0] >= first)
        end = next(note for note in self.noted if note[0] >= first + STRETCH)
        return (end[1] - begin[1]) / (end[0] - begin[0])


def test_late_experiments_cost_no_more_than_early_ones(tmp_path: Path) -> None:
    folder, script = tmp_path / "bowl", Counting()
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "task.toml").write_text(TASK)
    scenario = Scenario(
        task=load_task(folder),
        settings=Settings(limits=Limits(hours=None, experiments=EXPERIMENTS)),
        slots=[Slot(name=f"cpu-{number}", accelerator="cpu") for number in range(8)],
        world=world(lambda order: Score(value=bowl(order.source)), Machines(overhead_seconds=1.0)),
        team=lambda *_: script,
    )
    with simulated(scenario, tmp_path / "home") as simulation:
        notebook = simulation.notebook
        script.listen(
            simulation.session._journal.ledger._db,
            simulation.leases._db,
            notebook._log.database._writer,
            notebook._log.database._reader,
        )
        simulation.run()
    early, late = script.work(100), script.work(EXPERIMENTS - STRETCH - 20)
    assert late < 1.3 * early, (early, late)
