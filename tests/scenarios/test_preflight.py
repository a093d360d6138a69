"""A step on tiny shapes finds what a reading cannot, in the real sandbox and before the real judge."""

from collections.abc import Iterator

import pytest

from swarm.executors.local import LocalExecutor
from swarm.executors.preflight import Preflight
from tests.trainer_lab import CHEATS, documented_task
from trainer.contract import Task, load_task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = documented_task("bigram", tmp_path_factory.mktemp("preflight"))
    with (folder / "task.toml").open("a") as file:
        file.write("\n[preflight]\nBATCH_SIZE = 4\n")
    return load_task(folder)


@pytest.fixture(scope="module")
def preflight(task: Task) -> Iterator[Preflight]:
    preflight = Preflight(task.folder.parent / "runs", task.folder.parent / "data", task)
    yield preflight
    preflight.close()


@pytest.fixture
async def prepared(task: Task) -> None:
    await LocalExecutor(task.folder.parent / "unused", task.folder.parent / "data").prepare(task, lambda _: None)


@pytest.mark.usefixtures("prepared")
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.3", "0.6", None),
        ("256\n", "99999999999999\n", None),  # far too large a batch: it is not what a preflight asks
        ("model(inputs)", "model(inputs, 1)", "ended CRASHED: TypeError"),
        ("runtime.save(model)", "pass", "without saving a model"),
        ("loss.item()", "float('nan')", "ended DIVERGED"),
    ],
)
async def test_a_step_shows_what_is_wrong(
    task: Task, preflight: Preflight, old: str, new: str, said: str | None
) -> None:
    source = task.editable_path.read_text()
    assert old in source
    fault = await preflight.fault(source.replace(old, new, 1))
    assert fault is None if said is None else said in (fault or "")
    assert list((task.folder.parent / "runs").iterdir()) == []


@pytest.mark.usefixtures("prepared")
async def test_who_looks_ahead_is_found_before_a_slot_is_taken(preflight: Preflight) -> None:
    fault = await preflight.fault((CHEATS / "peeks_ahead.py").read_text())
    assert fault is not None
    assert "ended REJECTED_BY_JUDGE: while being judged: logits change" in fault
