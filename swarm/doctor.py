"""What this machine can do for a swarm; each lack comes with its remedy."""

import os
import platform
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from notebook_store.errors import NotebookError
from notebook_store.notebook import Notebook
from notebook_store.setup import kept_setup
from swarm.agents.chat import models_offered
from swarm.config import DiskSettings
from swarm.errors import InputError, ModelUnavailable
from swarm.executors.sky.cloud import CloudError
from swarm.executors.sky.registry import Registry
from swarm.executors.sky.sdk import SkySdk, api_server_runs
from swarm.hardware import cuda_slots, usable_cores
from swarm.home import Home, owner_pid
from swarm.leases.manager import LeaseManager
from swarm.mending import held_by_the_dead, scratch, stale_notes
from swarm.ports import SystemClock
from trainer.contract import Sandbox, sandbox_kind

ENOUGH_DISK_GB = 2.0  # a night's notebook, candidates and logs, and the built-in task's data
MIN_PYTHON, END_PYTHON = (3, 11), (3, 14)  # from pyproject's requires-python


class State(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    LACK = "lack"  # a session runs without it, with less
    FAULT = "fault"  # no session runs


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str  # python, git, ...
    state: State
    found: str  # one line
    remedy: str = ""  # one line; empty where there is nothing to do


def examine(home: Path) -> list[Finding]:
    """Look at everything. Takes about a second; starts and changes nothing."""
    return [
        _python(),
        _git(),
        _disk(home),
        _cores(),
        _gpus(),
        _sandbox(),
        _embedder(),
        _model(),
        _skypilot(),
        *_clusters(home),
        *_home(home),
    ]


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if MIN_PYTHON <= sys.version_info[:2] < END_PYTHON:
        return Finding(what="python", state=State.OK, found=found)
    return Finding(what="python", state=State.FAULT, found=found, remedy="use Python 3.11, 3.12 or 3.13")


def _git() -> Finding:
    if shutil.which("git") is None:
        remedy = "install git: every candidate is a commit"
        return Finding(what="git", state=State.FAULT, found="not installed", remedy=remedy)
    said = subprocess.run(["git", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return Finding(what="git", state=State.OK, found=said.removeprefix("git version "))


def _disk(home: Path) -> Finding:
    place = home.expanduser().resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    found = f"{free:.1f} GB free at {place}"
    if free >= ENOUGH_DISK_GB:
        return Finding(what="disk", state=State.OK, found=found)
    remedy = f"free some space, or choose a --home with {ENOUGH_DISK_GB:g} GB"
    if 1000 * free < DiskSettings().reserve_mb:
        remedy += f"; with less than {DiskSettings().reserve_mb:g} MB no trial starts ([disk] reserve_mb)"
    return Finding(what="disk", state=State.LACK, found=found, remedy=remedy)


def _cores() -> Finding:
    usable, there = usable_cores(), os.cpu_count() or 1
    found = f"{usable} of {there} cores usable: {usable} slots for tasks of one thread"
    return Finding(what="cpu", state=State.OK, found=found)


def _gpus() -> Finding:
    slots = cuda_slots()
    if slots:
        return Finding(what="gpu", state=State.OK, found=", ".join(f"{s.accelerator} ({s.name})" for s in slots))
    remedy = "CPU tasks run without; for CUDA tasks install NVIDIA's driver and see that `nvidia-smi` lists the GPU"
    return Finding(what="gpu", state=State.LACK, found="no CUDA device found", remedy=remedy)


def _sandbox() -> Finding:
    kind = sandbox_kind()
    if kind is Sandbox.FULL:
        return Finding(what="sandbox", state=State.OK, found="full: no network, only scratch writable")
    if kind is Sandbox.PARTIAL:
        found = "partial, by Landlock: no TCP, only scratch writable; other processes can be seen"
        remedy = "for a full one install bubblewrap, or allow unprivileged user namespaces"
        return Finding(what="sandbox", state=State.LACK, found=found, remedy=remedy)
    remedy = "candidates run with limits only; trials on Linux are shut in"
    if sys.platform == "linux":
        remedy = "install bubblewrap, or allow unprivileged user namespaces: candidates run with limits only"
    return Finding(what="sandbox", state=State.LACK, found=str(kind), remedy=remedy)


def _embedder() -> Finding:
    from notebook_store.embed import MiniLM

    try:
        model = MiniLM()
    except NotebookError as error:
        return Finding(what="embedder", state=State.FAULT, found="not there", remedy=str(error))
    return Finding(what="embedder", state=State.OK, found=f"{model.name}, {model.dimension} dimensions")


def _model() -> Finding:
    """The endpoint that the environment names; a session's swarm.toml may name another."""
    import asyncio

    base_url, key = os.environ.get("OPENAI_BASE_URL"), os.environ.get("OPENAI_API_KEY")
    if not base_url and not key:
        remedy = "specialists work by rule; set OPENAI_API_KEY or OPENAI_BASE_URL, see docs/models.md"
        return Finding(what="model", state=State.LACK, found="none is named", remedy=remedy)
    try:
        offered = asyncio.run(models_offered(base_url, key or "none"))
    except ModelUnavailable as error:
        return Finding(what="model", state=State.LACK, found="does not answer", remedy=str(error))
    wanted, found = os.environ.get("OPENAI_MODEL"), f"{base_url or 'OpenAI'} offers {len(offered)} models"
    if wanted and wanted not in offered:
        remedy = f"OPENAI_MODEL names '{wanted}', which is not among them: {', '.join(offered[:5])}"
        return Finding(what="model", state=State.LACK, found=found, remedy=remedy)
    return Finding(what="model", state=State.OK, found=found)


def _skypilot() -> Finding:
    try:
        found = f"skypilot {version('skypilot')}"
    except PackageNotFoundError:
        remedy = "pip install 'skypilot[kubernetes,slurm]==0.14.1'"
        return Finding(what="skypilot", state=State.LACK, found="not installed", remedy=remedy)
    if not api_server_runs():
        found += "; its API server does not run: `--executor sky` starts it, `sky check` shows where it may go"
        return Finding(what="skypilot", state=State.OK, found=found)
    try:
        infras = SkySdk().infras()
    except CloudError as error:
        return Finding(what="skypilot", state=State.LACK, found=found, remedy=str(error))
    if infras:
        return Finding(what="skypilot", state=State.OK, found=f"{found}; clusters on {', '.join(infras)}")
    remedy = "sessions run on this machine only; `sky check` says what each infrastructure needs"
    return Finding(what="skypilot", state=State.LACK, found=f"{found}; no infrastructure is enabled", remedy=remedy)


def _clusters(home: Path) -> list[Finding]:
    """Clusters on the home's record; nothing where there are none."""
    records = Registry(home.expanduser().resolve() / "clusters").all()
    if not records:
        return []
    live = Home(home, create=False).at_work()
    found = ", ".join(f"{record.cluster} of session {record.session}" for record in records)
    if all(record.session in live for record in records):
        return [Finding(what="clusters", state=State.OK, found=f"in use: {found}")]
    remedy = "they may cost money: `swarm start` goes on with their session, `swarm doctor --fix` tears them down"
    return [Finding(what="clusters", state=State.LACK, found=f"orphaned: {found}", remedy=remedy)]


def _home(home: Path) -> list[Finding]:
    if not (home / "version").exists():
        found = f"none at {home.expanduser().resolve()} yet: start makes it"
        return [Finding(what="home", state=State.OK, found=found)]
    try:
        place = Home(home, create=False)
    except InputError as error:
        return [Finding(what="home", state=State.FAULT, found="cannot be used", remedy=str(error))]
    owner = owner_pid(place.root / "owner.json") if place.is_owned() else None
    used = f"owned by process {owner}" if owner else "free"
    return [
        Finding(what="home", state=State.OK, found=f"{place.root}, {used}"),
        _leftovers(place),
        *_notebook(place),
    ]


def _leftovers(home: Home) -> Finding:
    """What dead processes left."""
    counts = {"stale notes": len(stale_notes(home)), "scratch folders": len(scratch(home))}
    if home.leases.exists():
        with closing(LeaseManager(home.leases, SystemClock())) as manager:
            counts["slots held by dead sessions"] = len(held_by_the_dead(home, manager))
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    if not told:
        at_work = home.at_work()
        return Finding(what="sessions", state=State.OK, found=f"at work: {', '.join(sorted(at_work)) or 'none'}")
    remedy = "`swarm start` goes on with their session, `swarm doctor --fix` puts it in order"
    return Finding(what="sessions", state=State.LACK, found=told, remedy=remedy)


def _notebook(home: Home) -> list[Finding]:
    if not home.notebook.exists():
        return []
    try:
        with Notebook.read(home.notebook) as notebook:
            found = f"{notebook.count()} entries"
    except NotebookError as error:
        return [Finding(what="notebook", state=State.FAULT, found="cannot be read", remedy=str(error))]
    if not (home.notebook / "chroma").exists() and kept_setup(home.notebook).chroma_url is None:
        remedy = "the next session makes it anew, `swarm doctor --fix` does now"
        return [Finding(what="notebook", state=State.LACK, found=f"{found}; no vector index", remedy=remedy)]
    return [Finding(what="notebook", state=State.OK, found=f"{found}; `swarm notebook check` compares its indexes")]
