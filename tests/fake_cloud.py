"""A cloud on this machine: clusters are folders, jobs are real processes, machines can be scarce or die."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

from swarm.executors.sky.cloud import BadCloudConfig, CloudError, ClusterGone, Config, JobState, NoAnswer, NoCapacity


@dataclass(eq=False)
class Job:
    """One job in a cluster's queue."""

    name: str
    config: Config
    state: JobState = JobState.WAITING
    said: str = ""
    process: "subprocess.Popen[str] | None" = None
    over: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class Machine:
    """One cluster: a home, a working folder, a queue served in order, some devices."""

    home: Path
    devices: set[int]  # free ones
    jobs: list[Job] = field(default_factory=list)
    dead: bool = False
    down: bool = False  # its jobs end, while whoever keeps its queue still answers


class FakeCloud:
    """Behaves as ``Cloud`` promises.

    ``full``, ``deaf`` and ``hidden`` are how clusters' names begin that get no machine, do not answer, or cannot be
    looked for. ``unanswered`` counts the calls that came while it was ``away``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._machines: dict[str, Machine] = {}
        self.full: set[str] = set()
        self.deaf: set[str] = set()
        self.hidden: set[str] = set()
        self.away = False  # SkyPilot itself answers nobody
        self.unanswered = 0
        self.prices: dict[str, float] | None = {}  # kind -> dollars an hour; None: there is no catalogue
        self.launched: list[str] = []  # every launch that got a machine, in order
        self.submitted: list[tuple[str, str]] = []  # cluster and name of every job but the opening ones

    # ── what a test does to it ───────────────────────────────────────────────────────────────────────────

    def kill(self, cluster: str) -> None:
        """The machine dies, its processes with it."""
        with self._lock:
            machine = self._machines[cluster]
            machine.dead = True
            for job in machine.jobs:
                self._end(job, JobState.FAILED)

    def take_down(self, cluster: str) -> None:
        """The machine goes down, and what keeps its queue lies elsewhere, as with Slurm."""
        with self._lock:
            machine = self._machines[cluster]
            machine.down = True
            for job in machine.jobs:
                self._end(job, JobState.FAILED)

    # ── the port ─────────────────────────────────────────────────────────────────────────────────────────

    def launch(self, cluster: str, config: Config, *, autostop_minutes: int) -> int:
        kind, _, count = config["resources"]["accelerators"].partition(":")
        if kind == "unheard-of":
            raise BadCloudConfig("no cloud has accelerator unheard-of")
        with self._lock:
            if cluster.startswith(tuple(self.full)):
                raise NoCapacity("all machines are taken")
            if cluster not in self._machines:
                home = self._root / f"{cluster}-{len(self.launched)}"
                shutil.copytree(config["workdir"], home / "sky_workdir")
                self._machines[cluster] = Machine(home=home, devices=set(range(int(count or 1))))
                self.launched.append(cluster)
        return self._queue(cluster, config)

    def submit(self, cluster: str, config: Config) -> int:
        self._machine(cluster)
        self.submitted.append((cluster, config["name"]))
        return self._queue(cluster, config)

    def price(self, kind: str, count: int, *, infra: str | None, spot: bool) -> float | None:
        if self.prices is None:
            raise CloudError("SkyPilot: no connection")
        price = self.prices.get(kind)
        return price and (0.4 * price if spot else price)

    def find(self, cluster: str, name: str) -> int | None:
        jobs = self._machine(cluster).jobs
        return max((number for number, job in enumerate(jobs) if job.name == name), default=None)

    def follow(self, cluster: str, job: int, hear: Callable[[str], None] = lambda _: None) -> str:
        followed = self._machine(cluster).jobs[job]
        followed.over.wait()
        self._machine(cluster)
        for line in followed.said.splitlines():
            hear(line)
        return followed.said

    def state(self, cluster: str, job: int) -> JobState:
        return self._machine(cluster).jobs[job].state

    def cancel(self, cluster: str, job: int) -> None:
        cancelled = self._machine(cluster).jobs[job]
        with self._lock:
            self._end(cancelled, JobState.CANCELLED)
        cancelled.over.wait()

    def up(self, clusters: Collection[str]) -> set[str]:
        if any(cluster.startswith(tuple(self.hidden)) for cluster in clusters):
            raise CloudError("the infrastructure does not answer")
        known = {name: self._machines[name] for name in clusters if name in self._machines}
        return {name for name, machine in known.items() if not (machine.dead or machine.down)}

    def known(self) -> list[str]:
        return sorted(self._machines)

    def down(self, cluster: str) -> None:
        with self._lock:
            if cluster in self._machines:
                self.kill(cluster)
                del self._machines[cluster]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────

    def _machine(self, cluster: str) -> Machine:
        if self.away:
            self.unanswered += 1
            raise NoAnswer("SkyPilot does not answer")
        machine = self._machines.get(cluster)
        if machine is None or machine.dead:
            raise ClusterGone(f"cluster {cluster} does not exist")
        if cluster.startswith(tuple(self.deaf)):
            raise CloudError(f"cluster {cluster} does not answer")
        return machine

    def _queue(self, cluster: str, config: Config) -> int:
        with self._lock:
            machine = self._machine(cluster)
            machine.jobs.append(Job(name=config["name"], config=config))
            self._serve(machine)
            return len(machine.jobs) - 1

    def _serve(self, machine: Machine) -> None:
        """Start waiting jobs, in order, while devices are free."""
        for job in machine.jobs:
            if job.state is JobState.WAITING and machine.devices and not (machine.dead or machine.down):
                device = min(machine.devices)
                machine.devices.remove(device)
                envs = {name: str(value) for name, value in job.config["envs"].items()}
                own = {"HOME": str(machine.home), "CUDA_VISIBLE_DEVICES": str(device)}
                job.process = subprocess.Popen(
                    ["bash", "-c", job.config["run"]],
                    cwd=machine.home / "sky_workdir",
                    env={**os.environ, **envs, **own},
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                job.state = JobState.RUNNING
                threading.Thread(target=self._attend, args=(machine, job, device), daemon=True).start()

    def _attend(self, machine: Machine, job: Job, device: int) -> None:
        assert job.process is not None
        said, _ = job.process.communicate()
        with self._lock:
            job.said = "".join(f"(task, pid=1) {line}\n" for line in said.splitlines())
            if not job.state.over:
                job.state = JobState.SUCCEEDED if job.process.returncode == 0 else JobState.FAILED
            job.over.set()
            machine.devices.add(device)
            self._serve(machine)

    def _end(self, job: Job, state: JobState) -> None:
        if job.state.over:
            return
        job.state = state
        if job.process is None:
            job.over.set()
        elif job.process.poll() is None:
            os.killpg(job.process.pid, signal.SIGTERM if state is JobState.CANCELLED else signal.SIGKILL)
