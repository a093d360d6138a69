"""Which session a request means: the one it names, an unfinished one of the task, or a new one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from swarm.config import Limits, Settings, load_settings
from swarm.errors import InputError
from swarm.research.ledger import Ledger
from swarm.research.state import SessionState
from trainer.contract import Task, builtin_tasks, find_task


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """What `swarm start` was asked for."""

    task: str | None = None  # built-in name or folder; None: the task of the session that is resumed
    session: str | None = None  # name; None: the task's unfinished session, else a new one
    config: Path | None = None  # swarm.toml; None: what the session was opened with, else the defaults
    limits: Mapping[str, float | None] | None = None  # fields of Limits from the command line; None: not given
    seed: int | None = None  # None: as configured
    papers: tuple[Path, ...] = ()  # files and folders that the library gets before the session begins
    proposers: tuple[str, ...] = ()  # who proposes; empty: as configured
    approve: bool = False  # hold what the reviewer approves for a person; False: as configured
    executor: Literal["local", "sky"] | None = None  # None: as configured


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which session a request means, and with what."""

    name: str
    task: Task
    settings: Settings


def choose(ledger: Ledger, request: StartRequest) -> Choice:
    """Which session the request means: the one it names, an unfinished one of the task, or a new one."""
    states = {name: SessionState.replay(name, ledger.events(name)) for name in ledger.sessions()[-20:]}
    name = request.session
    if name is None:
        task_name = None if request.task is None else find_task(request.task).name
        unfinished = [n for n, s in states.items() if s.ended is None and task_name in (None, s.opened["task"])]
        name = unfinished[-1] if unfinished else None
    if name in states:
        return _resumed(states[name], request)
    if request.task is None:
        raise InputError(
            f"which task? give one of {', '.join(builtin_tasks())} or the path of a task folder, "
            "e.g. `swarm start tinytext`"
        )
    task = find_task(request.task)
    settings = _overridden(load_settings(request.config), request)
    if name is None:
        name = (
            f"{_plain(task.name)}-{1 + sum(known.startswith(_plain(task.name) + '-') for known in ledger.sessions())}"
        )
    elif _plain(name) != name:
        raise InputError(f"'{name}' cannot name a session; use letters, digits, '.', '_' and '-'")
    return Choice(name=name, task=task, settings=settings)


def _resumed(state: SessionState, request: StartRequest) -> Choice:
    task = find_task(state.opened["task_folder"])
    if request.task is not None and find_task(request.task).folder != task.folder:
        raise InputError(
            f"session {state.session} works on task '{task.name}', not '{request.task}'; leave the task out, "
            "or choose another --session"
        )
    opened = Settings.model_validate_json(state.opened["settings"])
    settings = _overridden(load_settings(request.config) if request.config else opened, request)
    if settings.executor != opened.executor:
        raise InputError(
            f"session {state.session} has executor '{opened.executor}', and its scores were measured there; "
            "leave --executor out, or choose another --session"
        )
    return Choice(name=state.session, task=task, settings=settings)


def _overridden(settings: Settings, request: StartRequest) -> Settings:
    given = {name: value for name, value in (request.limits or {}).items() if value is not None}
    limits = Limits.model_validate({**settings.limits.model_dump(), **given})
    seed = settings.seed if request.seed is None else request.seed
    approve = settings.approve or request.approve
    executor = request.executor or settings.executor
    proposers = request.proposers or settings.proposers
    changed = {"limits": limits, "seed": seed, "approve": approve, "executor": executor, "proposers": proposers}
    return settings.model_copy(update=changed)


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "session"
