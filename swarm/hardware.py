"""Which slots this machine has: as swarm.toml says, or as found by looking."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from swarm.config import SlotGroup
from swarm.errors import InputError, SwarmError
from swarm.ports import GpuUse, Slot
from trainer.contract import Device, Task

LEAD_SECONDS = 15.0  # on a GPU the next trial's process is made ready beside the last seconds of the one before
_CGROUPS = Path("/sys/fs/cgroup")


def local_slots(groups: Sequence[SlotGroup], task: Task) -> tuple[Slot, ...]:
    """The slots a session on this machine works with.

    ``groups`` as configured; where there are none, the CUDA devices if the task can use them, else the cores.
    Raises InputError when a group contradicts itself or the task needs a GPU and there is none.
    """
    if groups:
        return _configured(groups, task)
    if task.device is not Device.CPU:
        found = cuda_slots()
        if found:
            return found
        if task.device is Device.CUDA:
            raise InputError(f"task '{task.name}' needs a CUDA GPU and none was found; see `swarm doctor`")
    count = max(1, usable_cores() // task.threads)
    return tuple(Slot(name=f"cpu-{number}", accelerator="cpu") for number in range(count))


def cuda_slots() -> tuple[Slot, ...]:
    """One slot per CUDA device the driver shows, in PCI order; empty without a driver or a device.

    Honours CUDA_VISIBLE_DEVICES where it lists numbers or UUIDs.
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        slots = []
        for device in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(device)
            if _visible(device, pynvml.nvmlDeviceGetUUID(handle)):
                accelerator = accelerator_name(pynvml.nvmlDeviceGetName(handle))
                slots.append(
                    Slot(
                        name=f"cuda-{device}",
                        accelerator=accelerator,
                        device=device,
                        memory_mb=int(pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).total) >> 20,
                        lead_seconds=LEAD_SECONDS,
                    )
                )
        return tuple(slots)
    finally:
        pynvml.nvmlShutdown()


class NvmlGpus:
    """Gpus (see ports) as NVIDIA's driver tells of them."""

    def use(self, device: int) -> GpuUse:
        import pynvml

        try:
            pynvml.nvmlInit()
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(device)
                computing = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
                drawing = pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle)
                used = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2).used
            finally:
                pynvml.nvmlShutdown()
        except pynvml.NVMLError as error:
            raise SwarmError(f"NVIDIA's driver does not tell who uses GPU {device}: {error}") from error
        pids = {process.pid for process in computing}
        drawn = sum(process.usedGpuMemory or 0 for process in drawing if process.pid not in pids)
        return GpuUse(computing=tuple(sorted(pids)), held_mb=max(0, used - drawn) // 2**20)


def own_processes() -> set[int]:
    """Ids of this process and all that descend from it: of every trial that it started."""
    import psutil

    me = psutil.Process()
    return {me.pid, *(child.pid for child in me.children(recursive=True))}


def accelerator_name(full: str) -> str:
    """The short name tiers use: "NVIDIA H100 80GB HBM3" -> "H100", "NVIDIA GeForce RTX 4090" -> "RTX4090"."""
    words = [word for word in re.split(r"[\s-]+", full) if word.lower() not in {"nvidia", "tesla", "geforce"}]
    if not words:
        raise ValueError(f"no accelerator is named {full!r}")
    if words[0].upper() in {"RTX", "GTX", "QUADRO"} and len(words) > 1:
        return words[0] + words[1]
    return words[0]


def usable_cores() -> int:
    """Cores this process may use: its CPU affinity and its cgroups' CPU quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _cgroup_quotas())]))


def _cgroup_quotas() -> list[float]:
    """CPU quotas, in cores, of this process's cgroup (version 2) and those around it; empty where there are none."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except FileNotFoundError:  # not Linux
        return []
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    group = _CGROUPS / own.lstrip("/")
    quotas = []
    for folder in (group, *group.parents):
        limit = folder / "cpu.max"
        if limit.is_file():
            quota, period = limit.read_text(encoding="ascii").split()
            if quota != "max":
                quotas.append(int(quota) / int(period))
    return quotas


def _visible(device: int, uuid: str) -> bool:
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return True
    names = [name.strip() for name in allowed.split(",") if name.strip()]
    return str(device) in names or any(name.startswith("GPU-") and uuid.startswith(name) for name in names)


def _configured(groups: Sequence[SlotGroup], task: Task) -> tuple[Slot, ...]:
    slots: list[Slot] = []
    taken: set[int] = set()
    for group in groups:
        devices: tuple[int | None, ...] = group.devices or (None,) * group.count
        if group.devices and group.count not in (1, len(group.devices)):
            raise InputError(
                f"[[slots]] {group.accelerator}: count is {group.count}, but devices has {len(group.devices)}; "
                "leave count out"
            )
        if not group.devices and task.device is Device.CUDA:
            raise InputError(
                f"[[slots]] {group.accelerator}: task '{task.name}' needs CUDA; name the GPUs: devices = [0]"
            )
        for device in devices:
            if device in taken:
                raise InputError(f"[[slots]] {group.accelerator}: device {device} is named twice; give it one slot")
            if device is not None:
                taken.add(device)
            number = sum(slot.accelerator == group.accelerator for slot in slots)
            slots.append(
                Slot(
                    name=f"{group.accelerator.lower()}-{number}",
                    accelerator=group.accelerator,
                    device=device,
                    lead_seconds=0.0 if device is None else LEAD_SECONDS,
                    memory_mb=group.memory_mb,
                    price_per_hour=group.price_per_hour,
                )
            )
    return tuple(slots)
