"""Runs trials on this machine, each in a folder and a process session of its own.

A trial's folder is its memory: making it is the decision to start, made once; ``result.json`` in it is the end.
Between the two the harness lives on without us, so a swarm that was killed finds its trials again by their folders.
"""

import asyncio
import errno
import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from swarm.errors import InputError
from swarm.executors.folders import disk_full, disk_full_said, trial_folder
from swarm.ports import Slot, TrialOrder
from trainer import contract
from trainer.contract import Outcome, Task, TrialResult, TrialSpec, Trust, WarmWorker

if TYPE_CHECKING:
    import psutil

_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)  # in the name of a variable
CANDIDATE = "candidate.py"  # the candidate's file in a trial's folder
_POLL_SECONDS = 0.2  # real time between two looks at a trial that another process started
_START_SECONDS = 30.0  # a harness that has not noted its pid by then never started
_TERM_SECONDS = 5.0  # time a harness has to end a cancelled trial in good order
_Started = tuple[int, Callable[[], object]]  # pid of a harness, and what returns once it has ended


@dataclass(frozen=True, kw_only=True)
class _Own:
    """A harness that this process started."""

    pid: int  # also its process group
    gone: asyncio.Event  # set when it has ended


class LocalExecutor:
    """The Executor for this machine's cores and CUDA devices."""

    def __init__(self, root: Path, data_root: Path, *, python: str = sys.executable) -> None:
        """``root``: a folder per trial; ``data_root``: a folder per task's prepared data."""
        self._root = root.absolute()
        self._data_root = data_root.absolute()
        self._python = python
        self._own: dict[str, _Own] = {}  # trials that this process started
        self._worker: WarmWorker | None = None  # one for all slots: it only forks, so it is never busy
        self._starting = threading.Lock()  # one trial at a time talks with the worker
        self._creating = threading.Lock()  # one folder at a time is made ready
        self._data: dict[Path, Path | None] = {}  # task folder -> its data as it was when first used

    async def prepare(self, task: Task, progress: Callable[[str], None]) -> None:
        """Run the task's preparation; ``progress`` gets each line it prints.

        Raises InputError with the last of these lines when the task cannot be prepared, DiskFull.
        """
        data = await asyncio.to_thread(self._data_of, task)
        if data is None:
            return
        process = await asyncio.create_subprocess_exec(
            *contract.prepare_argv(self._python, task, data),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_harness_env(),
        )
        line = ""
        try:
            assert process.stdout is not None
            async for raw in process.stdout:
                line = raw.decode(errors="replace").strip() or line
                progress(line)
            code = await process.wait()
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if os.strerror(errno.ENOSPC) in line:
            raise disk_full(self._data_root)
        if code != 0:
            raise InputError(line or f"preparing task '{task.name}' ended with exit status {code}")

    async def submit(self, order: TrialOrder) -> None:
        """Start the trial, unless it was started before. Raises DiskFull."""
        folder = trial_folder(self._root, order.trial_id)
        with disk_full_said(self._root):
            started = await asyncio.to_thread(self._start, folder, order)
        if started:
            self._own[order.trial_id] = _watch(*started)

    async def result(self, trial_id: str) -> TrialResult:
        """Wait for the trial's end. A trial that is lost, or was never submitted, is PREEMPTED."""
        folder = trial_folder(self._root, trial_id)
        if own := self._own.get(trial_id):
            await own.gone.wait()
        else:
            while await asyncio.to_thread(_may_run, folder):
                await asyncio.sleep(_POLL_SECONDS)
        with disk_full_said(self._root):
            return await asyncio.to_thread(_final_result, folder, trial_id)

    async def cancel(self, trial_id: str) -> None:
        """End the trial: SIGTERM to its harness, and if that does not help SIGKILL to all of its processes."""
        folder = trial_folder(self._root, trial_id)
        if own := self._own.get(trial_id):
            pid = None if own.gone.is_set() else own.pid
        else:
            while (pid := await asyncio.to_thread(_harness_pid, folder)) is None:
                if not await asyncio.to_thread(_may_run, folder):
                    break
                await asyncio.sleep(_POLL_SECONDS)
        if pid is not None:
            await _end(pid)
        await self.result(trial_id)

    async def drop_checkpoint(self, trial_id: str) -> None:
        """Delete the weights that the harness left in the trial's folder."""
        checkpoint = trial_folder(self._root, trial_id) / contract.WEIGHTS
        await asyncio.to_thread(checkpoint.unlink, missing_ok=True)

    async def forget(self, trial_id: str) -> None:
        """Delete the trial's folder."""
        self._own.pop(trial_id, None)
        await asyncio.to_thread(shutil.rmtree, trial_folder(self._root, trial_id), ignore_errors=True)

    def close(self) -> None:
        """Let the warm worker go; trials that run go on."""
        if self._worker is not None:
            self._worker.close()
            self._worker = None

    def _start(self, folder: Path, order: TrialOrder) -> _Started | None:
        data = self._data_of(order.task)
        limits = [mb for mb in (order.slot.memory_mb, order.task.memory_mb) if mb is not None]
        spec = TrialSpec(
            trial_id=order.trial_id,
            task_folder=str(order.task.folder),
            candidate=CANDIDATE,
            tier=order.tier,
            budget=order.budget,
            seed=order.seed,
            threads=order.task.threads,
            memory_mb=min(limits, default=None),
            data_dir=None if data is None else str(data),
            device_index=order.slot.device,
            fencing_token=order.token,
            holdout=order.holdout,
            limits=order.limits,
            quick=order.quick,
            turn=str(self._turn_of(order.slot)) if order.slot.lead_seconds else None,
            compiled=str(self._root.with_name("compiled")),
            keep=order.keep,
        )
        try:
            with self._creating:
                if (folder / contract.SPEC).exists() or (folder / contract.RESULT).exists():
                    return None
                # A folder without a spec was left by a swarm that died just here: nothing was started in it.
                contract.create_trial(folder, spec, order.source)
            if contract.WARM_POSSIBLE and order.task.trust is Trust.JUDGED:
                return self._run_warm(folder)
            return self._run_cold(folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)  # nothing ran: the id may be submitted again
            raise

    def _turn_of(self, slot: Slot) -> Path:
        """The file that the slot's running trial has locked; a GPU's is the same for every home of this user."""
        return self._data_root / f"{slot.name if slot.device is None else f'cuda-{slot.device}'}.turn"

    def _run_warm(self, folder: Path) -> _Started:
        """Have the worker fork a harness. A worker that has died is replaced; what it forked before goes on."""
        with self._starting:
            for _ in range(2):
                if self._worker is None:
                    self._worker = WarmWorker(self._python)
                try:
                    harness = self._worker.run(folder)
                except ConnectionError:
                    self.close()
                    continue
                return harness.pid, partial(_until_readable, harness.file)
        raise InputError(f"{self._python} cannot import torch and the trainer; run `make setup` again")

    def _run_cold(self, folder: Path) -> _Started:
        with (folder / contract.HARNESS_LOG).open("wb") as log:
            process = subprocess.Popen(
                contract.run_argv(self._python, folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=folder,
                env=_harness_env(),
            )
        return process.pid, process.wait

    def _data_of(self, task: Task) -> Path | None:
        """Where a task's data lies: named by what makes it, so that another preparation gets another folder."""
        if task.folder not in self._data:
            data = None
            if task.prepare_command:
                digest = hashlib.sha256(json.dumps(task.prepare_command).encode())
                for name in sorted(task.protected):
                    digest.update((task.folder / name).read_bytes())
                data = self._data_root / f"{task.name}-{digest.hexdigest()[:12]}"
            self._data[task.folder] = data
        return self._data[task.folder]


def _harness_env() -> dict[str, str]:
    """Our environment without its secrets; `trainer` is the one we know, whatever lies in the working folder."""
    home = str(Path(contract.__file__).parent.parent)
    safe = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    return {**safe, "PYTHONPATH": home, "PYTHONSAFEPATH": "1"}


def _watch(pid: int, wait_for_end: Callable[[], object]) -> _Own:
    """Notice the end of a harness, by a thread that waits for it.

    Not asyncio's own subprocess: its transport kills the child when the loop closes, and trials outlive us.
    """
    loop, gone = asyncio.get_running_loop(), asyncio.Event()

    def wait() -> None:
        wait_for_end()
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(gone.set)

    threading.Thread(target=wait, name=f"harness {pid}", daemon=True).start()
    return _Own(pid=pid, gone=gone)


def _until_readable(file: int) -> None:
    """Wait until an open file has something to read, and close it."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    poll.poll()
    os.close(file)


def _may_run(folder: Path) -> bool:
    """Whether a trial that another process started may still give a result of its own."""
    if contract.harness_alive(folder):
        return True
    if (folder / contract.RESULT).exists() or (folder / contract.PID).exists():
        return False
    try:
        return time.time() - folder.stat().st_mtime < _START_SECONDS
    except FileNotFoundError:
        return False


def _harness_pid(folder: Path) -> int | None:
    """The pid of the living harness; None when there is none."""
    if not contract.harness_alive(folder):
        return None
    return int(json.loads((folder / contract.PID).read_text(encoding="utf-8"))["pid"])


async def _end(pid: int) -> None:
    """End a harness and all its processes; returns when none is left."""
    family = await asyncio.to_thread(_family, pid)
    _signal(family, signal.SIGTERM, only=pid)
    deadline = time.monotonic() + _TERM_SECONDS
    while family:
        await asyncio.sleep(_POLL_SECONDS / 4)
        family = {process for process in family | await asyncio.to_thread(_family, pid) if _lives(process)}
        if time.monotonic() > deadline:
            _signal(family, signal.SIGKILL)


def _family(pid: int) -> "set[psutil.Process]":
    """The living processes that descend from a harness or are of its group, itself included."""
    import psutil

    found = set()
    for process in psutil.process_iter():
        with suppress(ProcessLookupError):
            if os.getpgid(process.pid) == pid:
                found.add(process)
    with suppress(psutil.NoSuchProcess):
        found.update(psutil.Process(pid).children(recursive=True))
    return {process for process in found if _lives(process)}


def _lives(process: "psutil.Process") -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(processes: "Iterable[psutil.Process]", number: signal.Signals, *, only: int | None = None) -> None:
    import psutil

    for process in processes:
        if only in (None, process.pid):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)  # refuses a pid that was given out again


def _final_result(folder: Path, trial_id: str) -> TrialResult:
    """What the harness left; where it left nothing, PREEMPTED, written down so that it stays so."""
    if result := contract.read_result(folder):
        return result
    message = "its harness ended without a result"
    if not folder.exists():
        return TrialResult(trial_id=trial_id, outcome=Outcome.PREEMPTED, message="it was never started")
    log = folder / contract.HARNESS_LOG
    if log.exists() and (said := log.read_text(encoding="utf-8", errors="replace").strip()):
        message += f": {said.splitlines()[-1]}"
    result = TrialResult(trial_id=trial_id, outcome=Outcome.PREEMPTED, message=message)
    contract.write_atomically(folder / contract.RESULT, result.to_json())
    return result
