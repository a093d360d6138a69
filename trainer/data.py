"""The prepared data of a task: built once, complete or absent, named by its hash."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from trainer.contract import Task, TaskError, write_atomically

MANIFEST = "manifest.json"


def file_hash(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def recipe_hash(task: Task) -> str:
    """Hash of what determines the data: the prepare command and the protected files."""
    digest = hashlib.sha256(repr(task.prepare_command).encode())
    for name in sorted(task.protected):
        digest.update(f"{name}\0{file_hash(task.folder / name)}\0".encode())
    return digest.hexdigest()


def read_manifest(data_dir: Path) -> dict[str, str] | None:
    """{"recipe", "data_hash"} of a complete cache; None where there is none."""
    try:
        manifest: dict[str, str] = json.loads((data_dir / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return None
    return manifest


def data_hash(data_dir: Path) -> str:
    """One hash over every file of the data, names included."""
    digest = hashlib.sha256()
    for path in sorted(p for p in data_dir.rglob("*") if p.is_file() and p.name != MANIFEST):
        digest.update(f"{path.relative_to(data_dir).as_posix()}\0{file_hash(path)}\0".encode())
    return digest.hexdigest()


def is_there(task: Task, data_dir: Path) -> bool:
    """Whether the task's data was made, as its recipe is now. Does not read the data, which may be large."""
    manifest = read_manifest(data_dir)
    return manifest is not None and manifest["recipe"] == recipe_hash(task)


def prepare(task: Task, data_dir: Path, say: Callable[[str], None]) -> str:
    """Make the data complete and return its hash; nothing is done where it is. Safe to run twice at once.

    Raises TaskError where the task's prepare command fails.
    """
    data_dir = data_dir.resolve()
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    with data_dir.with_name(data_dir.name + ".lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        recipe, manifest = recipe_hash(task), read_manifest(data_dir)
        if manifest and manifest["recipe"] == recipe and manifest["data_hash"] == data_hash(data_dir):
            say(f"{task.name}: data is ready in {data_dir}")
            return manifest["data_hash"]
        building = data_dir.with_name(data_dir.name + ".building")
        for old in (building, data_dir):
            shutil.rmtree(old, ignore_errors=True)
        building.mkdir()
        if task.prepare_command:
            say(f"{task.name}: preparing data")
            _run_prepare(task, building, say)
        found = data_hash(building)
        write_atomically(building / MANIFEST, json.dumps({"recipe": recipe, "data_hash": found}) + "\n")
        building.replace(data_dir)
        say(f"{task.name}: data is ready in {data_dir}")
        return found


def _run_prepare(task: Task, folder: Path, say: Callable[[str], None]) -> None:
    command = [*resolve_python(task.prepare_command), str(folder)]
    environment = {**os.environ, "NIGHTSWARM_DATA": str(folder)}
    with subprocess.Popen(
        command, cwd=task.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        last = ""
        for line in process.stdout:
            last = line.rstrip() or last
            say(line.rstrip())
    if process.returncode != 0:
        raise TaskError(
            f"task '{task.name}': {' '.join(task.prepare_command)} failed ({last}); correct it and try again"
        )


def resolve_python(command: tuple[str, ...]) -> list[str]:
    """The command with "python" as this interpreter."""
    return [sys.executable if command[0] in ("python", "python3") else command[0], *command[1:]]
