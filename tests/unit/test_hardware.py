"""Which slots a machine is found to have."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarm.config import SlotGroup
from swarm.errors import InputError
from swarm.hardware import LEAD_SECONDS, accelerator_name, cuda_slots, local_slots, usable_cores
from swarm.ports import Slot
from trainer.contract import Device, Task, load_task


@pytest.fixture
def task(tmp_path: Path) -> Task:
    (tmp_path / "train.py").write_text("print('loss: 1')\n")
    (tmp_path / "task.toml").write_text(
        'name = "t"\neditable = "train.py"\nmetric = "loss"\ndevice = "cpu"\nbudget = { wall = 1 }\n'
    )
    return load_task(tmp_path)


@pytest.mark.parametrize(
    ("full", "short"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA L4", "L4"),
    ],
)
def test_accelerators_have_the_names_tiers_use(full: str, short: str) -> None:
    assert accelerator_name(full) == short


def test_cores_make_slots_of_as_many_threads_as_the_task_uses(task: Task) -> None:
    cores = usable_cores()
    assert 1 <= cores <= (os.cpu_count() or 1)
    assert [slot.name for slot in local_slots((), task)] == [f"cpu-{n}" for n in range(cores)]
    assert local_slots((), replace(task, threads=cores + 1)) == (Slot(name="cpu-0", accelerator="cpu"),)


def test_configured_slots_are_taken_as_written(task: Task) -> None:
    groups = (
        SlotGroup(accelerator="H100", devices=(0, 3), memory_mb=8, price_per_hour=2.5),
        SlotGroup(accelerator="cpu", count=2),
    )
    gpu: dict[str, Any] = {
        "accelerator": "H100", "memory_mb": 8, "price_per_hour": 2.5, "lead_seconds": LEAD_SECONDS,
    }  # fmt: skip
    assert local_slots(groups, task) == (
        Slot(name="h100-0", device=0, **gpu),
        Slot(name="h100-1", device=3, **gpu),
        Slot(name="cpu-0", accelerator="cpu"),
        Slot(name="cpu-1", accelerator="cpu"),
    )


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ((SlotGroup(accelerator="H100", count=3, devices=(0, 1)),), "count is 3, but devices has 2"),
        (
            (SlotGroup(accelerator="A", devices=(0,)), SlotGroup(accelerator="B", devices=(0,))),
            "device 0 is named twice",
        ),
    ],
)
def test_groups_that_contradict_themselves(groups: tuple[SlotGroup, ...], words: str, task: Task) -> None:
    with pytest.raises(InputError, match=words):
        local_slots(groups, task)


def test_a_gpu_task_needs_gpus(task: Task) -> None:
    cuda = replace(task, device=Device.CUDA)
    with pytest.raises(InputError, match="name the GPUs"):
        local_slots((SlotGroup(accelerator="H100"),), cuda)
    found = cuda_slots()
    if found:
        assert local_slots((), cuda) == found
    else:
        with pytest.raises(InputError, match="needs a CUDA GPU"):
            local_slots((), cuda)
        assert local_slots((), replace(task, device=Device.ANY))[0].accelerator == "cpu"
