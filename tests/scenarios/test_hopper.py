"""The GPU task on CPU: its data from text shards, a few steps on tiny shapes, and the judge's verdict."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from swarm.research.knobs import set_knobs
from tests.trainer_lab import finish_warm, prepared, warm_worker, write_trial
from trainer.contract import WARM_POSSIBLE, BudgetKind, Outcome, find_task

TASK = find_task("hopper")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not WARM_POSSIBLE, reason="is tried from a warm worker, on Linux")]


def texts() -> Iterator[str]:
    """Some English that is there wherever this runs: sources of torch, docstrings and all."""
    for path in sorted(Path(torch.__file__).parent.glob("[d-n]*/*.py")):
        yield path.read_text(encoding="utf-8", errors="replace").replace("\n\n", "\n")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("hopper")
    shards = folder / "shards"
    shards.mkdir()
    every = list(texts())
    (shards / "a.txt").write_text("\n\n".join(every[: len(every) // 2]))
    lines = (json.dumps({"text": text}) for text in every[len(every) // 2 : -30])
    (shards / "b.jsonl").write_text("\n".join(lines))
    (shards / "c.txt").write_text("\n\n".join(every[-30:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIGHTSWARM_SHARDS", str(shards))
        yield prepared(TASK.folder, folder / "data")


def test_every_token_of_a_shard_has_its_bytes(data: Path) -> None:
    tokens = torch.frombuffer(bytearray((data / "judge" / "val.bin").read_bytes()), dtype=torch.uint16).long()
    lengths = torch.frombuffer(bytearray((data / "judge" / "token_bytes.bin").read_bytes()), dtype=torch.uint16).long()
    text = (data / "judge" / "val.txt").read_bytes()
    assert len(lengths) == 8192
    assert int(lengths[tokens].sum()) == len(text) + 1  # a separator stands for a newline


def test_a_few_steps_on_cpu_are_scored_and_told(data: Path, tmp_path: Path) -> None:
    tiny = {"DEPTH": 2, "ASPECT_RATIO": 32, "HEAD_DIM": 32, "WINDOW_PATTERN": "SL", "DEVICE_BATCH_SIZE": 1}
    source = set_knobs(TASK.editable_path.read_text(), {**tiny, "TOTAL_BATCH_SIZE": 4096})
    trial = write_trial(
        tmp_path / "trial", TASK.folder, source=source, data_dir=data, budget=4, kind=BudgetKind.STEPS, quick=True
    )
    with warm_worker() as worker:
        result = finish_warm(worker, trial)
    assert (result.outcome, result.steps) == (Outcome.COMPLETED, 4), result.message
    assert result.metric is not None
    assert 1.0 < result.metric < 8.0
    assert result.extra["num_steps"] == 4
    assert result.extra["tokens_per_second"] > 0
    assert len(result.curve) < 10
