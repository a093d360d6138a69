"""A trial's folder on this machine, whatever machine runs the trial."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarm.errors import DiskFull


def trial_folder(root: Path, trial_id: str) -> Path:
    """Where a trial is kept under ``root``. Raises ValueError for an id that could lead elsewhere."""
    if not trial_id or trial_id in (".", "..") or "/" in trial_id or "\0" in trial_id:
        raise ValueError(f"trial id {trial_id!r} cannot name a folder")
    return root / trial_id


@contextmanager
def disk_full_said(where: Path) -> Iterator[None]:
    """Writing to a full disk raises DiskFull in here."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise disk_full(where) from error


def disk_full(where: Path) -> DiskFull:
    """What to say of a full disk."""
    return DiskFull(f"the disk is full: cannot write under {where}; free some space and start again")
