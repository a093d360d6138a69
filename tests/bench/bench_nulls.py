"""What a real session makes of changes that change nothing: sixty comments added to tinytext, none may be confirmed.

    make bench-nulls, or python -m tests.bench.bench_nulls [--home DIR] [--minutes M] [--slots N]

The session, its leases, its trials and its statistics are the real ones; only the proposer and the reviewer are not:
one adds a comment line, the other lets it pass, as the session's own would not. What was done is kept in DIR; started
again it goes on, and with all done it prints the result alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from notebook_store.local import LocalNotebook
from notebook_store.log import Log
from swarm.assemble.stores import data_folder
from swarm.config import Limits, Settings
from swarm.executors.local import LocalExecutor
from swarm.leases.desk import LeaseDesk
from swarm.leases.manager import LeaseManager
from swarm.ports import Brief, Slot, SystemClock, WaveReport
from swarm.research.experiment import Experiment, Proposal, Review, ReviewVerdict, Status
from swarm.research.ledger import Ledger
from swarm.research.lineage import Lineage
from swarm.research.state import SessionState
from swarm.session import Session
from swarm.wiring import Parts, tiers_of, wired
from trainer.contract import find_task

TASK = find_task("tinytext")
SESSION, NULLS = "nulls", 60


class Commenter:
    """Proposes comments, and nothing else; counts by what is on record, so that a resumed session goes on."""

    async def propose(self, brief: Brief) -> list[Proposal]:
        first = len(brief.files)
        return [
            Proposal(
                author="commenter",
                hypothesis=f"comment number {number} changes nothing",
                parent=brief.parent,
                source=f"{brief.source}\n# comment number {number}\n",
                wave=brief.wave,
            )
            for number in range(first, first + brief.wanted)
        ]

    @property
    def exhausted(self) -> bool:
        return False

    async def review(self, experiment: Experiment, proposal: Proposal) -> Review:
        return Review(verdict=ReviewVerdict.APPROVED, reasons=("let pass to see what comes of it",))

    async def read(self, factors: Sequence[str]) -> None:
        return

    async def analyse(self, report: WaveReport) -> str:
        return f"{report.session}-{report.wave}"

    async def reflect(self, report: WaveReport) -> None:
        return

    def hush(self) -> None:
        return

    async def close(self) -> None:
        return


async def worked(home: Path, slots: int, minutes: float) -> None:
    """Go on with the session for so long."""
    settings = Settings(limits=Limits(hours=None, experiments=NULLS))
    places = [Slot(name=f"cpu-{number}", accelerator="cpu") for number in range(slots)]
    with (
        closing(Ledger(home / "ledger.db")) as ledger,
        closing(LeaseManager(home / "leases.db", SystemClock())) as manager,
        closing(LocalExecutor(home / "trials", data_folder())) as executor,
        LocalNotebook(Log.open(home / "notebook", create=True), None, None) as notebook,
    ):
        desk = LeaseDesk(manager)
        await desk.call(manager.register, places, tiers_of(settings))
        await executor.prepare(TASK, print)
        session: Session = await asyncio.to_thread(
            wired,
            Parts(
                name=SESSION,
                task=TASK,
                settings=settings,
                clock=SystemClock(),
                ledger=ledger,
                desk=desk,
                executor=executor,
                slots=places,
                notebook=notebook,
                candidates=Lineage(home / "repo.git", TASK.editable),
                team=lambda _, __: Commenter(),
                say=print,
            ),
        )
        asyncio.get_running_loop().call_later(60 * minutes, session.drain, "the minutes are over")
        print(await session.run())
        await desk.close()


def told(state: SessionState) -> str:
    """What became of the comments so far."""
    own = [one for one in state.experiments.values() if one.author == "commenter"]
    over = sum(one.is_final for one in own)
    trials = [trial for one in state.experiments.values() for trial in one.trials if trial.completed]
    runs = {tier: sum(trial.tier == tier for trial in trials) for tier in ("screen", "validate")}
    noise = {tier: found.sd for tier in runs if (found := state.noise(tier, "cpu")) is not None}
    fates = ", ".join(f"{state.count(status)} {status.lower()}" for status in Status if state.count(status))
    return (
        f"{over} of {NULLS} comments are decided ({fates}); {runs['screen']} screening and {runs['validate']} "
        f"validation runs; noise sd {', '.join(f'{tier} {sd:.4f}' for tier, sd in noise.items())}\n"
        f"confirmed: {len(state.incumbents) - 1}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Path(tempfile.gettempdir()) / "nightswarm-nulls")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long, to go on another time")
    parser.add_argument("--slots", type=int, default=1, help="trials at once, of one thread each")
    arguments = parser.parse_args()
    arguments.home.mkdir(parents=True, exist_ok=True)
    with closing(Ledger(arguments.home / "ledger.db")) as ledger:
        state = SessionState.replay(SESSION, ledger.events(SESSION))
    if state.ended is None:
        asyncio.run(worked(arguments.home, arguments.slots, arguments.minutes))
        with closing(Ledger(arguments.home / "ledger.db")) as ledger:
            state = SessionState.replay(SESSION, ledger.events(SESSION))
    print(told(state))
    return 1 if len(state.incumbents) > 1 else 0


if __name__ == "__main__":
    sys.exit(main())
