"""What a task is: a folder read into frozen settings, or one line that says what is wrong with it."""

from __future__ import annotations

import shlex
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeGuard

BUILTIN = Path(__file__).parent / "tasks"
TEMPLATE = Path(__file__).parent / "template"  # what `swarm task new` copies
TIERS = ("screen", "validate")  # what `budget = ...` (one for all) expands to
EXPERIMENT = "experiment.yaml"  # of SkyPilot's variant of autoresearch's layout
WARM_UP_SECONDS = 10.0  # not charged before `ready`, where the task says nothing
AUTORESEARCH_LIMIT = 600.0  # wall seconds: its training takes 300, start-up and evaluation the rest


class TaskError(ValueError):
    """A task that cannot be used; the message says in one line what is wrong and what to do."""


class BudgetKind(StrEnum):
    """What a budget counts."""

    STEPS = "steps"  # optimiser steps, as the task reports them
    CPU = "cpu"  # CPU-seconds of the candidate's processes, measured from outside
    WALL = "wall"  # seconds on the harness's clock


class Direction(StrEnum):
    """Which way the metric gets better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


class Trust(StrEnum):
    """Who computed the metric."""

    JUDGED = "judged"  # our judge, from the saved model's logits
    SELF_REPORTED = "self-reported"  # the task printed it of itself


class Device(StrEnum):
    """What a task needs to run on."""

    CPU = "cpu"
    CUDA = "cuda"
    ANY = "any"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much training one trial may use."""

    kind: BudgetKind  # what is counted
    amount: float  # steps, CPU-seconds or wall seconds, above 0


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where to search one constant: an interval, or a list of choices."""

    low: float | None = None  # the constant's own unit; None where `choices` are given
    high: float | None = None  # the constant's own unit, above `low`
    log: bool = False  # sample on a logarithmic scale
    integer: bool = False  # whole numbers only (both ends were written without a point)
    choices: tuple[str | int | float | bool, ...] = ()  # empty where an interval is given


@dataclass(frozen=True, kw_only=True)
class Task:
    """A folder with one editable file, a metric and a budget per tier."""

    name: str  # what sessions and results call it
    folder: Path  # absolute
    editable: str  # the one file a candidate replaces, relative to the folder
    protected: tuple[str, ...]  # files whose change spoils a trial, relative to the folder
    command: tuple[str, ...]  # runs one trial in a copy of the folder; "python" is this interpreter
    prepare_command: tuple[str, ...]  # runs once before the first trial; empty: nothing to prepare
    metric: str  # its name, such as val_bpb
    direction: Direction  # which way it gets better
    budgets: Mapping[str, Budget]  # tier -> budget of one trial
    memory_mb: int | None  # resident memory of all the candidate's processes, MiB; None: no limit
    trust: Trust  # who computes the metric
    device: Device  # what it runs on
    threads: int  # CPU threads of one trial
    warm_up_seconds: float  # most seconds before `ready` that are not charged (judged)
    timeout_seconds: float | None  # hard wall limit of training; None: derived from the budget
    environment: Mapping[str, str]  # variables that the command finds beside NIGHTSWARM_*
    readable: tuple[str, ...]  # paths outside the folder that a candidate may read
    hide: tuple[str, ...]  # Python packages out of a candidate's sight: the judge's text is made from them
    preflight: Mapping[str, str | int | float | bool]  # constants that make one step tiny; empty: no preflight
    ranges: Mapping[str, Range]  # constant's name -> where to search it; empty: derived from the file
    program: str  # text of program.md, empty where there is none

    def budget(self, tier: str) -> Budget:
        """The budget of one trial on `tier`. Raises TaskError where the task has none."""
        if tier not in self.budgets:
            known = ", ".join(sorted(self.budgets))
            raise TaskError(
                f"task '{self.name}' has no budget for tier '{tier}' (it has: {known}); "
                f"add `{tier} = {{ wall = 60 }}` under [budgets] in {self.folder / 'task.toml'}"
            )
        return self.budgets[tier]

    @property
    def editable_path(self) -> Path:
        """Where the starting version of the editable file is."""
        return self.folder / self.editable


def builtin_tasks() -> list[str]:
    """Names of the tasks that come with the package, sorted."""
    return sorted(p.name for p in BUILTIN.iterdir() if (p / "task.toml").is_file())


def find_task(name_or_path: str | Path) -> Task:
    """A built-in task by its name, or the task in a folder. Raises TaskError."""
    if str(name_or_path) in builtin_tasks():
        return load_task(BUILTIN / str(name_or_path))
    folder = Path(name_or_path).expanduser()
    if not folder.is_dir():
        raise TaskError(
            f"no task '{name_or_path}': it is neither a folder nor a built-in task "
            f"({', '.join(builtin_tasks())}); give one of these names or the path of a task folder"
        )
    return load_task(folder)


def new_task(folder: Path) -> None:
    """Write a minimal task into a folder that is empty or not there. Raises TaskError."""
    folder = Path(folder).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TaskError(f"{folder} is there already and not empty; give the path of a new folder")
    try:
        shutil.copytree(TEMPLATE, folder, dirs_exist_ok=True)
    except OSError as error:
        raise TaskError(f"cannot write {folder}: {error.strerror or error}; give another path") from None


def load_task(folder: Path) -> Task:
    """Read a task folder: its task.toml, or the layout of karpathy/autoresearch. Raises TaskError."""
    folder = Path(folder).expanduser().resolve()
    path = folder / "task.toml"
    if path.is_file():
        try:
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TaskError(f"{path} is not valid TOML: {error}; correct that line") from None
    elif all((folder / name).is_file() for name in ("train.py", "prepare.py", "pyproject.toml")):
        settings = _autoresearch()
        path = folder / EXPERIMENT
        if path.is_file():
            settings |= _experiment(path)
    elif not folder.is_dir():
        raise TaskError(f"no folder {folder}; give the path of a task folder")
    else:
        raise TaskError(
            f"no task.toml in {folder}; write one with `editable`, `metric` and `[budgets]` (see docs/tasks.md), "
            "or begin with `swarm task new`"
        )
    return _Reader(settings=settings, folder=folder, path=path).task()


def _autoresearch() -> dict[str, Any]:
    """Settings of a folder in the layout of karpathy/autoresearch, which has no task.toml."""
    return {
        "editable": "train.py",
        "protected": ["prepare.py", "pyproject.toml"],
        "command": "uv run train.py",
        "metric": "val_bpb",
        "budget": {"wall": AUTORESEARCH_LIMIT},
        "timeout_seconds": AUTORESEARCH_LIMIT,
        "trust": "self-reported",
        "device": "cuda",
        "threads": 4,
        "readable": [
            "~/.cache/autoresearch",
            "~/.cache/huggingface",
            "~/.cache/uv",
            "~/.local/share/uv",
            "~/.local/bin",
        ],
        "environment": {"UV_NO_SYNC": "1", "HF_HUB_OFFLINE": "1"},  # a trial has no network
    }


def _experiment(path: Path) -> dict[str, Any]:
    """What SkyPilot's variant of that layout adds: the `run` section and `envs` of its experiment.yaml."""
    try:
        import yaml
    except ImportError:
        raise TaskError(f"{path} needs PyYAML to be read; install it: pip install pyyaml") from None
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TaskError(f"{path} is not valid YAML: {' '.join(str(error).split())}; correct it") from None
    if not isinstance(given, dict) or not isinstance(given.get("run"), str) or not given["run"].strip():
        raise TaskError(f"{path} has no `run` section; write the commands of one trial there")
    envs = given.get("envs") or {}
    if not isinstance(envs, dict) or not all(_is_plain(value) for value in envs.values()):
        raise TaskError(f"{path}: every one of `envs` needs a value: NAME: text")
    return {
        "command": ["bash", "-c", given["run"]],
        "environment": _autoresearch()["environment"] | {str(k): str(v) for k, v in envs.items()},
        "protected": ["prepare.py", "pyproject.toml", EXPERIMENT],
    }


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Checks the raw settings of one task.toml, key by key."""

    settings: dict[str, Any]  # as tomllib read them
    folder: Path  # the task's
    path: Path  # of the task.toml, for messages

    KEYS = (
        "name", "editable", "protected", "command", "prepare", "metric", "direction", "budget", "budgets",
        "memory_mb", "trust", "device", "threads", "warm_up_seconds", "timeout_seconds",
        "environment", "readable", "hide", "preflight", "ranges",
    )  # fmt: skip

    def task(self) -> Task:
        for key in self.settings:
            if key not in self.KEYS:
                self.fail(f"unknown key '{key}'; the keys are {', '.join(self.KEYS)}")
        editable = self.text("editable", None)
        protected = self.strings("protected", ())
        self.check_files(editable, protected)
        program = self.folder / "program.md"
        return Task(
            name=self.text("name", self.folder.name),
            folder=self.folder,
            editable=editable,
            protected=protected,
            command=self.strings("command", ("python", editable)),
            prepare_command=self.strings("prepare", ()),
            metric=self.text("metric", None),
            direction=Direction(self.one_of("direction", Direction, "minimize")),
            budgets=MappingProxyType(self.budgets()),
            memory_mb=self.whole("memory_mb", None),
            trust=Trust(self.one_of("trust", Trust, "self-reported")),
            device=Device(self.one_of("device", Device, "any")),
            threads=self.whole("threads", 1) or 1,
            warm_up_seconds=self.positive("warm_up_seconds") or WARM_UP_SECONDS,
            timeout_seconds=self.positive("timeout_seconds"),
            environment=MappingProxyType(self.environment()),
            readable=self.strings("readable", ()),
            hide=self.strings("hide", ()),
            preflight=MappingProxyType(self.preflight()),
            ranges=MappingProxyType(self.ranges()),
            program=program.read_text(encoding="utf-8") if program.is_file() else "",
        )

    def fail(self, what: str) -> None:
        raise TaskError(f"{self.path}: {what}")

    def text(self, key: str, default: str | None) -> str:
        value = self.settings.get(key, default)
        if value is None:
            self.fail(f"'{key}' is missing; add it (see docs/tasks.md)")
        if not isinstance(value, str) or not value.strip():
            self.fail(f"'{key}' must be a non-empty text, not {value!r}")
        return str(value)

    def strings(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts, or one text cut as a shell would cut it."""
        value = self.settings.get(key, default)
        if isinstance(value, str):
            return tuple(shlex.split(value))
        if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
            self.fail(f"'{key}' must be a text or a list of texts, not {value!r}")
        return tuple(value)

    def one_of(self, key: str, words: type[StrEnum], default: str) -> str:
        value = self.settings.get(key, default)
        allowed = [str(w) for w in words]
        if value not in allowed:
            self.fail(f"'{key}' must be one of {', '.join(allowed)}, not {value!r}")
        return str(value)

    def positive(self, key: str) -> float | None:
        value = self.settings.get(key)
        if value is None:
            return None
        if not _is_number(value) or value <= 0:
            self.fail(f"'{key}' must be a number above 0, not {value!r}")
        return float(value)

    def whole(self, key: str, default: int | None) -> int | None:
        value = self.settings.get(key, default)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            self.fail(f"'{key}' must be a whole number above 0, not {value!r}")
        return value

    def budgets(self) -> dict[str, Budget]:
        single, table = self.settings.get("budget"), self.settings.get("budgets")
        if (single is None) == (table is None):
            self.fail("give either `budget = { wall = 60 }` for all tiers or a [budgets] table, one line a tier")
        rows = dict.fromkeys(TIERS, single) if table is None else table
        if not isinstance(rows, dict) or not rows:
            self.fail("[budgets] must have a line per tier such as `screen = { cpu = 6 }`")
        return {str(tier): self.one_budget(str(tier), row) for tier, row in rows.items()}

    def one_budget(self, tier: str, row: object) -> Budget:
        kinds = [str(k) for k in BudgetKind]
        if isinstance(row, dict) and len(row) == 1:
            kind, amount = next(iter(row.items()))
            whole = kind != "steps" or isinstance(amount, int)
            if kind in kinds and whole and _is_number(amount) and 0 < amount < float("inf"):
                return Budget(kind=BudgetKind(kind), amount=float(amount))
        raise TaskError(
            f"{self.path}: bad budget for tier '{tier}': {row!r}; "
            f"write {{ cpu = 6 }} with one of {', '.join(kinds)} and a number above 0 (steps: a whole one)"
        )

    def environment(self) -> dict[str, str]:
        table = self.settings.get("environment", {})
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            self.fail('[environment] must be a table of texts such as `WANDB_MODE = "offline"`')
        return {str(name): value for name, value in table.items()}

    def preflight(self) -> dict[str, str | int | float | bool]:
        table = self.settings.get("preflight", {})
        if not isinstance(table, dict) or not all(_is_plain(value) for value in table.values()):
            self.fail("[preflight] must be a table of constants that make one step tiny, such as `BATCH_SIZE = 1`")
        if table and self.settings.get("trust") != "judged":
            self.fail("[preflight] is for judged tasks; nobody knows how a self-reported one takes a single step")
        return dict(table)

    def ranges(self) -> dict[str, Range]:
        table = self.settings.get("ranges", {})
        if not isinstance(table, dict):
            self.fail("[ranges] must be a table such as `LEARNING_RATE = { low = 1e-4, high = 1e-2, log = true }`")
        return {name: self.one_range(name, row) for name, row in table.items()}

    def one_range(self, name: str, row: object) -> Range:
        shape = "write { low = 1, high = 8 } (and log = true) or { choices = [1, 2] }"
        if not isinstance(row, dict) or set(row) - {"low", "high", "log", "choices"}:
            raise TaskError(f"{self.path}: bad range for {name}: {row!r}; {shape}")
        choices = row.get("choices")
        if choices is not None:
            good = isinstance(choices, list) and len(choices) > 1 and len(row) == 1
            if not good or not all(isinstance(c, str | int | float | bool) for c in choices):
                self.fail(f"bad choices for {name}: {row!r}; {shape}, two choices at least")
            return Range(choices=tuple(choices))
        low, high, log = row.get("low"), row.get("high"), row.get("log", False)
        if not _is_number(low) or not _is_number(high) or not isinstance(log, bool) or not low < high:
            raise TaskError(f"{self.path}: bad range for {name}: {row!r}; {shape}, low below high")
        if log and low <= 0:
            self.fail(f"bad range for {name}: a log range needs low above 0")
        return Range(low=low, high=high, log=log, integer=isinstance(low, int) and isinstance(high, int))

    def check_files(self, editable: str, protected: tuple[str, ...]) -> None:
        for name in (editable, *protected):
            if Path(name).is_absolute() or ".." in Path(name).parts:
                self.fail(f"'{name}' must be inside the task folder; give a relative path")
        if editable in protected:
            self.fail(f"'{editable}' is both editable and protected; leave it out of `protected`")
        source = self.folder / editable
        if not source.is_file():
            raise TaskError(
                f"task '{self.folder.name}' has no editable file {editable} in {self.folder}; "
                "write it, or correct `editable` in task.toml"
            )
        for name in protected:
            if not (self.folder / name).is_file():
                self.fail(f"protected file {name} is not there; add it, or take it out of `protected`")
        if source.suffix == ".py":
            check_python(source)


def check_python(source: Path) -> None:
    """Raise TaskError with the line where `source` does not compile as Python. Runs nothing."""
    try:
        compile(source.read_bytes(), str(source), "exec", dont_inherit=True)
    except SyntaxError as error:
        raise TaskError(f"{source} does not compile: line {error.lineno}: {error.msg}; correct that line") from None
    except ValueError as error:
        raise TaskError(f"{source} does not compile: {error}; save it as UTF-8 text") from None


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
