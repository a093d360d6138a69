"""What a candidate's compiler made, kept for the next trial of the same file.

The compiler writes into the trial's scratch folder (`TORCHINDUCTOR_CACHE_DIR`). What lies there when the candidate says
`ready`, before it has seen a training token, is kept once, under the hash of its file; later trials of that file
begin with a copy. So nothing that was learnt travels, and no candidate reaches another's.

Standard library only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
from pathlib import Path

FOLDER = ".compiled"  # in the scratch folder
MOST_MB = 128  # of one candidate, MiB; what is larger is not kept
MOST_SECONDS = 10  # that keeping may take; what takes longer is not kept
KEPT = 32  # candidates, those used last


def give(store: Path, candidate: Path, scratch: Path) -> None:
    """Copy what is kept for a candidate's file into a scratch folder that nobody works in yet."""
    kept = store / _name(candidate)
    with contextlib.suppress(FileNotFoundError, shutil.Error):  # nothing is kept, or not any more: it compiles
        os.utime(kept)
        shutil.copytree(kept, scratch / FOLDER)


def keep(store: Path, candidate: Path, scratch: Path) -> None:
    """Keep what the compiler has made so far, unless there is something for this file; the oldest gives way."""
    kept = store / _name(candidate)
    if kept.exists() or not (scratch / FOLDER).is_dir():
        return
    store.mkdir(parents=True, exist_ok=True)
    making = store / f"{kept.name}.{os.getpid()}"
    if _copied(scratch / FOLDER, making):
        with contextlib.suppress(OSError):  # another harness was first
            making.rename(kept)
    shutil.rmtree(making, ignore_errors=True)
    for old in sorted(store.iterdir(), key=_used, reverse=True)[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _name(candidate: Path) -> str:
    return hashlib.sha256(candidate.read_bytes()).hexdigest()[:32]


def _used(kept: Path) -> float:
    try:
        return kept.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _copied(source: Path, target: Path) -> bool:
    """Copy a folder in a process of its own: hostile code runs beside it, and may lay any trap for who reads there."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(MOST_SECONDS)
            _copy(source, target, MOST_MB << 20)
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def _copy(source: Path, target: Path, most: int) -> None:
    """Copy plain files, and follow no link. Raises ValueError where they have over ``most`` bytes."""
    for folder, _, names, inside in os.fwalk(source):  # enters no link
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True)
        for name in names:
            number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=inside)
            with os.fdopen(number, "rb") as file:
                if not stat.S_ISREG(os.fstat(number).st_mode):
                    raise ValueError(f"{name} is no plain file")
                data = file.read(most + 1)
            most -= len(data)
            if most < 0:
                raise ValueError("over the limit")
            (place / name).write_bytes(data)
