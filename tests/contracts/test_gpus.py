"""What every Gpus promises: the fake, and NVIDIA's own Python binding over a stand-in for the driver's library."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pytest

from swarm.errors import SwarmError
from swarm.ports import GpuUse
from tests.fakes import FakeGpus

Process = tuple[int, int, str, int]  # device, process id, C(omputes) or G (draws) or H(idden), MiB
ASK = """
import sys
from swarm.errors import SwarmError
from swarm.hardware import NvmlGpus
import json
try:
    use = NvmlGpus().use(int(sys.argv[1]))
    print(json.dumps([use.computing, use.held_mb]))
except SwarmError as error:
    print(json.dumps(str(error)))
"""


class Bench(Protocol):
    def use(self, device: int, processes: Sequence[Process] | None) -> GpuUse:
        """What it tells of a device while these processes are there; None: there is no driver."""
        ...


class Fake:
    def use(self, device: int, processes: Sequence[Process] | None) -> GpuUse:
        ours = [process for process in processes or () if process[0] == device]
        told = GpuUse(
            computing=tuple(sorted(pid for _, pid, kind, _ in ours if kind == "C")),
            held_mb=sum(mib for *_, kind, mib in ours if kind != "G"),
        )
        return FakeGpus({device: told}, silent=processes is None or device > 1).use(device)


class Nvml:
    """The binding loads the driver's library once a process, so that each question is asked by a new one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        source = Path(__file__).with_name("nvml_stub.c")
        library = folder / "libnvidia-ml.so.1"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)

    def use(self, device: int, processes: Sequence[Process] | None) -> GpuUse:
        state = self.folder / "state"
        state.unlink(missing_ok=True)
        if processes is not None:
            state.write_text("".join(" ".join(map(str, process)) + "\n" for process in processes))
        environment = {**os.environ, "LD_LIBRARY_PATH": str(self.folder), "NVML_STUB": str(state)}
        asked = [sys.executable, "-c", ASK, str(device)]
        said = json.loads(subprocess.run(asked, env=environment, capture_output=True, check=True).stdout)
        if isinstance(said, str):
            raise SwarmError(said)
        return GpuUse(computing=tuple(said[0]), held_mb=said[1])


@pytest.fixture(
    scope="module",
    params=[
        "fake",
        pytest.param("nvml", marks=pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")),
    ],
)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Fake() if request.param == "fake" else Nvml(tmp_path_factory.mktemp("nvml"))


def test_a_gpu_that_nobody_uses(bench: Bench) -> None:
    assert bench.use(0, [(1, 7, "C", 5000)]) == GpuUse()


def test_who_computes_is_named_and_a_screen_is_left_out(bench: Bench) -> None:
    processes = [(0, 4711, "C", 3000), (0, 12, "C", 200), (0, 99, "G", 700), (1, 7, "C", 5000), (0, 5, "H", 40)]
    assert bench.use(0, processes) == GpuUse(computing=(12, 4711), held_mb=3240)


def test_memory_of_who_cannot_be_seen_counts(bench: Bench) -> None:
    assert bench.use(1, [(1, 5, "H", 40_000)]) == GpuUse(held_mb=40_000)


@pytest.mark.parametrize(("device", "processes"), [(0, None), (2, [])])
def test_no_driver_and_no_such_device_are_said(bench: Bench, device: int, processes: Sequence[Process] | None) -> None:
    with pytest.raises(SwarmError, match=f"driver does not tell who uses GPU {device}"):
        bench.use(device, processes)
