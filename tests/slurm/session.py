"""A session on the Slurm bed as a person would have it: a configuration, a process, and what it leaves to be read."""

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from swarm.research.ledger import Event, Kind, Ledger
from tests.slurm.bed import Bed

Trials = dict[str, dict[str, Any]]  # trial -> what was recorded of its start and, when it has ended, of its end
EXPERIMENT = """\
envs:
  NIGHTSWARM_ROOT: {shared}
run: |
  mkdir -p {shared}/devices && echo "$CUDA_VISIBLE_DEVICES" > {shared}/devices/on-$EXPERIMENT_ID
  export PYTHONPATH=.
  {core}nice -n 10 {python} -m trainer.remote $NIGHTSWARM_DO
"""
CONFIG = """\
executor = "sky"
experiment = "experiment.yaml"

[[pool]]
accelerators = "H100:{h100}"
infra = "slurm/bed/h100"

[[pool]]
accelerators = "H200:{h200}"
infra = "slurm/bed/h200"

[tiers.screen]
accelerators = ["H100"]
budget = {budget}

[tiers.validate]
accelerators = ["H200"]
priority = 10
budget = {budget}

[promotion]
replicates = 2
"""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A call of the command line. What it prints is kept in a file, where it can be read when a test has failed."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def said(self) -> str:
        """All it has printed so far."""
        return self.log.read_text(encoding="utf-8")

    def result(self, timeout: float | None = None) -> str:
        """Wait for its end; what it printed."""
        self.process.wait(timeout)
        return self.said


@dataclass(frozen=True, kw_only=True)
class BedSession:
    """A session in a folder: configured once, started as often as one likes."""

    bed: Bed
    folder: Path
    started: list[Running] = field(default_factory=list)  # in order

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def configure(self, *, h100: int, h200: int, budget: float, crowded: bool) -> None:
        """One cluster a kind, with so many devices; ``budget``: of a trial on either tier, in the task's unit.

        ``crowded``: there are more devices than cores, so trials wait for a core once they have a device.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        write_experiment(self.bed, self.folder, crowded=crowded)
        (self.folder / "swarm.toml").write_text(CONFIG.format(h100=h100, h200=h200, budget=budget), encoding="utf-8")

    def swarm(self, *arguments: str) -> Running:
        """One call of the command line."""
        log = self.folder / f"{len(self.started)}-{arguments[0]}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [str(Path(sys.executable).with_name("swarm")), "--home", str(self.home), *arguments],
                env={**os.environ, **self.bed.env},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(Running(process=process, log=log))
        return self.started[-1]

    def close(self) -> None:
        """End what still runs."""
        for running in self.started:
            running.process.kill()
            running.process.wait()

    def start(self, experiments: int, *, task: str = "tinytext") -> Running:
        config = str(self.folder / "swarm.toml")
        return self.swarm("start", task, "--config", config, "--experiments", str(experiments), "--plain", "--no-web")

    def events(self) -> list[Event]:
        if not (self.home / "ledger.db").exists():
            return []
        with closing(Ledger(self.home / "ledger.db")) as ledger:
            return [event for session in ledger.sessions() for event in ledger.events(session)]

    def trials(self) -> "Trials":
        """Trial -> what was recorded of its start and, when it has ended, of its end."""
        found: Trials = {}
        for event in self.events():
            if event.kind in (Kind.TRIAL_STARTED, Kind.TRIAL_ENDED):
                found.setdefault(event.key, {}).update(event.data)
        return found

    def running_slots(self) -> list[str]:
        """Slots of trials that have not ended."""
        return [trial["slot"] for trial in self.trials().values() if "outcome" not in trial]

    def wait_for_trials(self, count: int, running: Running) -> None:
        """Until ``count`` trials have ended and one is running."""

        def there(trials: Trials) -> bool:
            ended = sum("outcome" in trial for trial in trials.values())
            return count <= ended < len(trials)

        self.wait_until(there, running)

    def wait_until(self, there: Callable[["Trials"], bool], running: Running, *, seconds: float = 900.0) -> None:
        """Until the trials on record are as wished, while ``running`` works on them."""
        deadline = time.monotonic() + seconds
        while not there(self.trials()):
            assert running.process.poll() is None, running.said
            assert time.monotonic() < deadline, f"after {seconds:.0f} s:\n{self.figures()}\n{running.said}"
            time.sleep(0.2)  # another process is watched: there is no event to await

    def places(self) -> dict[str, dict[str, Any]]:
        """Trial -> where it was placed: cluster, its life, the job's number."""
        paths = self.home.glob("sessions/*/trials/*/placed.json")
        return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}

    def gaps(self) -> list["Gap"]:
        """All times between two trials on one device, where the second was already asked for when the first ended.

        From the times of the trials' files on the cluster, so neither swarm nor SkyPilot takes part in the measuring.
        """
        with closing(sqlite3.connect(self.home / "leases.db")) as db:
            asked = dict(db.execute("SELECT id, requested_at FROM requests").fetchall())
        kinds = {name: trial["accelerator"] for name, trial in self.trials().items()}
        runs: dict[tuple[str, str], list[tuple[float, str, Path]]] = {}  # device of a life -> begin, name, result
        for name, place in self.places().items():
            for result in self.bed.shared.glob(f"trials/{place['life']}/*/{name}/result.json"):
                noted = self.bed.shared / "devices" / f"on-{name}"
                device = (place["life"], noted.read_text(encoding="ascii").strip())
                runs.setdefault(device, []).append((noted.stat().st_mtime, name, result))
        return [
            Gap(
                kind=kinds[name],
                job=began - before.stat().st_mtime,
                trial=result.with_name("spec.json").stat().st_mtime - before.stat().st_mtime,
                in_line=self._queued_at(name) <= before.stat().st_mtime,
            )
            for device in runs.values()
            for (_, _, before), (began, name, result) in pairwise(sorted(device))
            if asked[name] <= before.stat().st_mtime
        ]

    def _queued_at(self, name: str) -> float:
        """When a trial's job was in the cluster's queue at the latest, in unix seconds."""
        (path,) = self.home.glob(f"sessions/*/trials/{name}/placed.json")
        return path.stat().st_mtime

    def figures(self) -> str:
        """What ran where, how it ended, and how long devices waited."""
        trials = self.trials().values()
        ran = Counter((trial["accelerator"], trial["tier"], trial.get("outcome", "unfinished")) for trial in trials)
        lines = [
            f"{kind}: {count} trials of tier {tier} {outcome}" for (kind, tier, outcome), count in sorted(ran.items())
        ]
        for kind in ("H100", "H200"):
            for what, gaps in (
                ("in all", [gap for gap in self.gaps() if gap.kind == kind]),
                (
                    "with the next job queued on the cluster",
                    [gap for gap in self.gaps() if gap.kind == kind and gap.in_line],
                ),
            ):
                if gaps:
                    lines.append(
                        f"{kind}: {len(gaps)} gaps {what}, median: {statistics.median(gap.job for gap in gaps):.1f} s "
                        f"to the next job, {statistics.median(gap.trial for gap in gaps):.1f} s to its trial"
                    )
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A time between two trials on one device."""

    kind: str  # of accelerator
    job: float  # seconds from the result of one to the first command of the next one's job
    trial: float  # seconds from the result of one to the beginning of the next
    in_line: bool  # the next one's job was in the cluster's queue by then


def write_experiment(bed: Bed, folder: Path, *, crowded: bool) -> None:
    """An experiment.yaml that runs trials with the bed's Python, nice to the cluster's own processes.

    ``crowded``: each trial draws one of the machine's cores and waits for it, so that what shares it stays measurable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    core = f"flock {bed.shared}/core-$((RANDOM % {os.cpu_count()})) " if crowded else ""
    text = EXPERIMENT.format(shared=bed.shared, python=bed.python, core=core)
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")
