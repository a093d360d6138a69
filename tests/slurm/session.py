"""A session on the Slurm bed as a person would have it: a configuration, a process, and what it leaves to be read."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from swarm.research.ledger import Event, Kind, Ledger
from tests.slurm.bed import Bed

EXPERIMENT = """\
envs:
  NIGHTSWARM_ROOT: {shared}
run: |
  PYTHONPATH=. nice -n 10 {python} -m trainer.remote $NIGHTSWARM_DO
"""
CONFIG = """\
executor = "sky"
experiment = "experiment.yaml"

[[pool]]
accelerators = "H100"
infra = "slurm/bed/h100"
count = {h100}

[[pool]]
accelerators = "H200"
infra = "slurm/bed/h200"
count = {h200}

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
class BedSession:
    """A session in a folder: configured once, started as often as one likes."""

    bed: Bed
    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def configure(self, *, h100: int, h200: int, budget: float) -> None:
        """One cluster an accelerator; ``budget``: CPU-seconds of a trial on either tier."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_experiment(self.bed, self.folder)
        (self.folder / "swarm.toml").write_text(CONFIG.format(h100=h100, h200=h200, budget=budget), encoding="utf-8")

    def swarm(self, *arguments: str) -> "subprocess.Popen[str]":
        """One call of the command line."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("swarm")), "--home", str(self.home), *arguments],
            env={**os.environ, **self.bed.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def start(self, experiments: int) -> "subprocess.Popen[str]":
        config = str(self.folder / "swarm.toml")
        return self.swarm("start", "tinytext", "--config", config, "--experiments", str(experiments), "--plain")

    def events(self) -> list[Event]:
        if not (self.home / "ledger.db").exists():
            return []
        with closing(Ledger(self.home / "ledger.db")) as ledger:
            return [event for session in ledger.sessions() for event in ledger.events(session)]

    def trials(self) -> dict[str, dict[str, Any]]:
        """Trial -> what was recorded of its start and, when it has ended, of its end."""
        found: dict[str, dict[str, Any]] = {}
        for event in self.events():
            if event.kind in (Kind.TRIAL_STARTED, Kind.TRIAL_ENDED):
                found.setdefault(event.key, {}).update(event.data)
        return found

    def running_slots(self) -> list[str]:
        """Slots of trials that have not ended."""
        return [trial["slot"] for trial in self.trials().values() if "outcome" not in trial]

    def wait_for_trials(self, count: int, process: "subprocess.Popen[str]", *, seconds: float = 600.0) -> None:
        """Until ``count`` trials have ended and one is running."""
        deadline = time.monotonic() + seconds
        while True:
            kinds = Counter(event.kind for event in self.events())
            if kinds[Kind.TRIAL_ENDED] >= count and kinds[Kind.TRIAL_STARTED] > kinds[Kind.TRIAL_ENDED]:
                return
            assert process.poll() is None, process.stdout and process.stdout.read()
            assert time.monotonic() < deadline, f"{kinds[Kind.TRIAL_ENDED]} trials after {seconds:.0f} s"
            time.sleep(0.2)  # another process is watched: there is no event to await

    def places(self) -> dict[str, dict[str, Any]]:
        """Trial -> where it was placed: cluster, its life, the job's number."""
        paths = self.home.glob("sessions/*/trials/*/placed.json")
        return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}

    def gaps(self) -> list[float]:
        """Seconds between the end of one trial and the beginning of the next on one slot, where the next one was
        already asked for. Only for clusters of one slot.

        From the times of the trials' files on the cluster, so neither swarm nor SkyPilot takes part in the measuring.
        """
        with closing(sqlite3.connect(self.home / "leases.db")) as db:
            asked = dict(db.execute("SELECT id, requested_at FROM requests").fetchall())
        runs: dict[str, list[tuple[float, float, str]]] = {}  # life of a cluster -> begin, end and name of each trial
        for name, place in self.places().items():
            for result in self.bed.shared.glob(f"trials/{place['life']}/*/{name}/result.json"):
                began = (result.parent / "spec.json").stat().st_mtime
                runs.setdefault(place["life"], []).append((began, result.stat().st_mtime, name))
        return [
            began - ended
            for life in runs.values()
            for (_, ended, _), (began, _, name) in pairwise(sorted(life))
            if asked[name] <= ended
        ]


def write_experiment(bed: Bed, folder: Path) -> None:
    """An experiment.yaml that runs trials with the bed's Python. The bed has fewer cores than devices: trials are
    nice to the cluster's own processes."""
    folder.mkdir(parents=True, exist_ok=True)
    text = EXPERIMENT.format(shared=bed.shared, python=bed.python)
    (folder / "experiment.yaml").write_text(text, encoding="utf-8")
