"""Clusters that are scarce, die, do not answer or were left by a dead swarm, in a cloud of folders and processes."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.config import PoolSettings
from swarm.errors import InputError
from swarm.executors.sky.executor import SkyExecutor
from swarm.executors.sky.recipe import recipe
from swarm.executors.sky.registry import Registry, berths
from swarm.ports import Slot, TrialOrder
from tests.executor_lab import BETTER, ENDLESS, GOOD, make_task, order, sky_executor
from tests.fake_cloud import FakeCloud
from trainer.contract import Outcome, parcel

ONE, TWO = PoolSettings(accelerators="cpu"), PoolSettings(accelerators="cpu", count=2)


class News:
    """What was told of slots, and when it is told."""

    def __init__(self) -> None:
        self.why: dict[str, str | None] = {}  # slot -> why it is unavailable
        self.waits: list[float] = []  # seconds until a next try, as told
        self.changed = asyncio.Event()

    async def tell(self, slots: Sequence[str], why: str | None) -> None:
        self.why.update(dict.fromkeys(slots, why))
        if why is not None and (found := re.search(r"tried again in ([\d.]+) s", why)):
            self.waits.append(float(found[1]))
        self.changed.set()

    async def tried_again(self, times: int) -> list[float]:
        async with asyncio.timeout(30):
            while len(self.waits) < times:
                self.changed.clear()
                await self.changed.wait()
        return self.waits[:times]

    async def wait_for(self, slot: str, *, available: bool) -> str | None:
        async with asyncio.timeout(30):
            while (self.why.get(slot, "not told yet") is None) != available:
                self.changed.clear()
                await self.changed.wait()
        return self.why[slot]


class Yard:
    """A cloud, and the executors of one home in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cloud = FakeCloud(folder / "cloud")
        self.task = make_task(folder / "task")
        self.news = News()
        self.opened: list[SkyExecutor] = []

    def executor(self, pool: PoolSettings = ONE, *, watch: float = 0.2) -> SkyExecutor:
        self.opened.append(sky_executor(self.cloud, self.folder, pool=pool, tell=self.news.tell, watch=watch))
        return self.opened[-1]

    async def ready(self, pool: PoolSettings = ONE, *, watch: float = 0.2) -> SkyExecutor:
        executor = self.executor(pool, watch=watch)
        await executor.prepare(self.task, lambda line: None)
        return executor

    async def swarm_that_dies(self, trial: str) -> None:
        """A swarm in an event loop of its own starts a trial, and is gone the next moment."""

        async def live() -> None:
            executor = sky_executor(self.cloud, self.folder, pool=ONE)
            await executor.submit(self.order(trial, ENDLESS))
            await until_running(self, trial)

        await asyncio.to_thread(asyncio.run, live())

    def order(self, name: str, source: str = GOOD, *, slot: str = "cpu-0") -> TrialOrder:
        return replace(order(self.task, name, source), slot=Slot(name=slot, accelerator="cpu"))

    @property
    def clusters(self) -> list[str]:
        return [record.cluster for record in Registry(self.folder / "home" / "clusters").all()]


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    yard = Yard(tmp_path)
    yield yard
    for executor in yard.opened:
        await executor.close()


async def until_running(yard: Yard, name: str) -> None:
    async with asyncio.timeout(30):
        while not any(job == name for _, job in yard.cloud.submitted):
            await asyncio.sleep(0.01)


# ── clusters come and go ────────────────────────────────────────────────────────────────────────────────


async def test_a_session_begins_with_what_it_gets_and_the_rest_follows(yard: Yard) -> None:
    planned = berths(yard.folder / "home", [TWO])
    (first,), (second,) = (berth.slots for berth in planned)
    yard.cloud.full.add(planned[0].name)
    executor = await yard.ready(TWO)
    why = await yard.news.wait_for(first.name, available=False)
    await yard.news.wait_for(second.name, available=True)
    assert why is not None
    await executor.submit(yard.order("t1", slot=second.name))
    assert (await executor.result("t1")).metric == 1.25
    assert await yard.news.tried_again(4) == [0.05, 0.1, 0.2, 0.2]  # twice as long each time, up to a limit
    yard.cloud.full.clear()
    await yard.news.wait_for(first.name, available=True)
    await executor.submit(yard.order("t2", slot=first.name))
    assert (await executor.result("t2")).metric == 1.25
    assert [name.rpartition("-")[0] for name in yard.cloud.launched] == [planned[1].name, planned[0].name]


async def test_a_cluster_that_dies_loses_its_trials_once_and_comes_back(yard: Yard) -> None:
    executor = await yard.ready()
    for name in ("running", "in-line"):
        await executor.submit(yard.order(name, ENDLESS))
        await until_running(yard, name)
    yard.cloud.kill(yard.clusters[0])
    for name in ("running", "in-line"):
        result = await executor.result(name)
        assert (result.outcome, result.metric) == (Outcome.PREEMPTED, None)
        assert "was lost" in result.message
    await yard.news.wait_for("cpu-0", available=True)
    await executor.submit(yard.order("again"))
    assert (await executor.result("again")).metric == 1.25
    assert (await executor.result("running")).outcome is Outcome.PREEMPTED
    assert len(yard.cloud.launched) == 2


async def test_an_idle_cluster_that_dies_is_noticed(yard: Yard) -> None:
    await yard.ready()
    yard.cloud.kill(yard.clusters[0])
    await yard.news.wait_for("cpu-0", available=False)
    await yard.news.wait_for("cpu-0", available=True)
    assert len(yard.cloud.launched) == 2


async def test_a_cluster_whose_jobs_end_without_a_result_is_looked_at_at_once(yard: Yard) -> None:
    executor = await yard.ready(watch=3600.0)
    await executor.submit(yard.order("running", ENDLESS))
    await until_running(yard, "running")
    yard.cloud.take_down(yard.clusters[0])
    assert "without a result" in (await executor.result("running")).message
    await yard.news.wait_for("cpu-0", available=False)
    await yard.news.wait_for("cpu-0", available=True)
    await executor.submit(yard.order("again"))
    assert (await executor.result("again")).metric == 1.25


async def test_a_cluster_that_does_not_answer_is_replaced(yard: Yard) -> None:
    executor = await yard.ready()
    yard.cloud.deaf.update(yard.clusters)
    await executor.submit(yard.order("t1"))
    assert (await executor.result("t1")).outcome is Outcome.PREEMPTED
    yard.cloud.deaf.clear()
    await yard.news.wait_for("cpu-0", available=True)
    await executor.submit(yard.order("t2"))
    assert (await executor.result("t2")).metric == 1.25


async def test_no_cluster_is_blamed_while_skypilot_does_not_answer(yard: Yard) -> None:
    executor = await yard.ready()
    yard.cloud.away = True
    await executor.submit(yard.order("t1"))
    async with asyncio.timeout(30):
        while yard.cloud.unanswered < 10:
            await asyncio.sleep(0.01)
    yard.cloud.away = False
    assert (await executor.result("t1")).metric == 1.25
    assert len(yard.cloud.launched) == 1


async def test_closing_leaves_nothing(yard: Yard) -> None:
    executor = await yard.ready(TWO)
    await executor.submit(yard.order("t1", ENDLESS))
    await until_running(yard, "t1")
    await executor.close()
    assert yard.cloud.known() == []
    assert yard.clusters == []


async def test_what_no_cloud_has_is_said_at_once(yard: Yard) -> None:
    with pytest.raises(InputError, match="no cluster can be started: no cloud has accelerator unheard-of"):
        await yard.ready(PoolSettings(accelerators="unheard-of:8"))


async def test_a_setup_that_fails_is_said_with_its_last_words(yard: Yard) -> None:
    (yard.task.folder / "prepare.py").write_text("raise SystemExit('no words here')")
    with pytest.raises(InputError, match=r"its setup failed: .*no words here"):
        await yard.ready()
    await yard.opened[-1].close()
    assert yard.cloud.known() == []


# ── trials in line, and after a death of the swarm ──────────────────────────────────────────────────────


async def test_the_next_trial_waits_in_the_queue_of_the_cluster(yard: Yard) -> None:
    executor = await yard.ready()
    await executor.submit(yard.order("first", ENDLESS))
    await until_running(yard, "first")
    await executor.submit(yard.order("second"))
    await until_running(yard, "second")  # queued while the first still runs
    await executor.cancel("first")
    assert (await executor.result("second")).metric == 1.25


async def test_a_trial_in_line_is_cancelled_before_it_begins(yard: Yard) -> None:
    executor = await yard.ready()
    for name, source in (("first", ENDLESS), ("second", GOOD)):
        await executor.submit(yard.order(name, source))
        await until_running(yard, name)
    await executor.cancel("second")
    assert (await executor.result("second")).outcome is Outcome.PREEMPTED
    await executor.cancel("first")


async def test_a_job_whose_number_was_not_noted_is_found_by_name(yard: Yard) -> None:
    """Killed between the order to the cluster and the note of it."""
    await yard.swarm_that_dies("t1")
    placed = yard.folder / "home" / "sessions" / "s" / "trials" / "t1" / "placed.json"
    place = json.loads(placed.read_text())
    placed.write_text(json.dumps({**place, "job": None}))
    resumed = await yard.ready()
    await resumed.submit(yard.order("t1", ENDLESS))
    await resumed.cancel("t1")
    assert [name for _, name in yard.cloud.submitted] == ["t1"]


async def test_a_trial_of_a_cluster_that_died_unseen_is_preempted(yard: Yard) -> None:
    await yard.swarm_that_dies("t1")
    yard.cloud.kill(yard.clusters[0])
    resumed = await yard.ready()
    await resumed.submit(yard.order("t1", ENDLESS))
    assert (await resumed.result("t1")).outcome is Outcome.PREEMPTED


async def test_a_trial_waits_until_its_cluster_is_found_again(yard: Yard) -> None:
    """A resumed session begins with the clusters that are found; a trial of its earlier run may belong to another."""
    await yard.ready(TWO)
    second = berths(yard.folder / "home", [TWO])[1]
    await yard.news.wait_for(second.slots[0].name, available=True)
    yard.cloud.hidden.add(second.name)
    resumed = await yard.ready(TWO)
    asked = [yard.order("t1", source, slot=second.slots[0].name) for source in (GOOD, BETTER)]
    submitted = [asyncio.create_task(resumed.submit(one)) for one in asked]
    await asyncio.wait(submitted, timeout=0.05)
    yard.cloud.hidden.clear()
    await asyncio.gather(*submitted)
    assert (await resumed.result("t1")).metric == 1.25
    assert [job for _, job in yard.cloud.submitted] == ["t1"]  # asked for twice while it waited, started once


async def test_a_candidate_too_large_for_a_job_is_refused(yard: Yard) -> None:
    executor = await yard.ready()
    noise = "".join(random.Random(0).choices("0123456789abcdef", k=400_000))
    with pytest.raises(InputError, match="move what it need not edit into protected files"):
        await executor.submit(yard.order("t1", f"# {noise}\n"))
    assert (await executor.result("t1")).message == "it was never started"


# ── experiment.yaml and the parcel ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("run: python train.py\n", "`run` must contain `python -m trainer.remote"),
        ("run: python -m trainer.remote $NIGHTSWARM_DO\nworkdir: .\n", "leave `workdir` out"),
        ("run: [unclosed\n", "is not valid YAML"),
        ("- a list\n", "`run` must contain"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=told.replace("$", r"\$")):
        recipe(path, make_task(tmp_path / "task"), tmp_path / "workdir")


def test_a_task_may_bring_its_own_recipe(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task")
    (task.folder / "experiment.yaml").write_text(
        "resources: {image_id: 'docker:ours', disk_size: 100}\nenvs: {MINE: 1}\n"
        "setup: ./install\nrun: python -m trainer.remote $NIGHTSWARM_DO\n"
    )
    made = recipe(None, task, tmp_path / "workdir")
    pool = PoolSettings(accelerators="H100:8", infra="kubernetes", spot=True)
    opening = made.opening("c", pool)
    resources = {"image_id": "docker:ours", "disk_size": 100, "infra": "kubernetes", "use_spot": True}
    assert opening["resources"] == {**resources, "accelerators": "H100:8"}
    assert (opening["setup"], opening["envs"]["MINE"], opening["envs"]["NIGHTSWARM_DO"]) == ("./install", 1, "prepare")
    job = made.trial(order(task, "t1"), pool, "life")
    assert job["resources"] == {**resources, "accelerators": "H100:1", "cpus": 1}
    assert (job["envs"]["EXPERIMENT_ID"], job["envs"]["NIGHTSWARM_DO"]) == ("t1", "run")
    assert "setup" not in job
    assert (tmp_path / "workdir" / "task" / "train.py").exists()
    assert (tmp_path / "workdir" / "trainer" / "remote.py").exists()


def test_a_parcel_survives_prefixes_colours_and_chatter() -> None:
    files = {"result.json": '{"a": 1}\n', "log.txt": "x" * 9000}
    lines = [f"\x1b[36m(t, pid=9)\x1b[0m {line}\r" for line in parcel.printed(files)]
    assert len(lines) > 1
    said = "\n".join(["NIGHTSWARM-RESULT of nothing", "setting up", *lines[:1], "noise", *lines[1:], "done"])
    assert parcel.found("\n".join(["setting up", *lines, "done"])) == files
    assert parcel.found("\n".join(lines[:-1])) is None
    assert parcel.found("\n".join(lines[1:])) is None
    assert parcel.found(said) is None
    assert parcel.found(said + "\n" + "\n".join(lines)) == files
