"""A real home with a session on fakes of what is slow: what the command line is tested on."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from swarm.config import Limits
from swarm.research.ledger import Kind, Ledger
from tests.lab import TASK, TRAIN, bench

SESSION = "bowl-1"


@cache
def finished_home() -> Path:
    """A home whose one session ended at its limit with a confirmed gain; made once a test run, only to be read."""
    lab = bench(Path(mkdtemp(prefix="swarm-home-")), limits=Limits(hours=None, experiments=14))

    lab.worked()
    (lab.root / "version").write_text("1\n", encoding="ascii")
    place = lab.root / "sessions" / SESSION
    place.parent.mkdir()
    (lab.root / SESSION).rename(place)
    return lab.root


def bare_home(root: Path, *, version: str = "1") -> Path:
    """A home with one session that was opened and did nothing yet."""
    root.mkdir()
    (root / "version").write_text(f"{version}\n", encoding="ascii")
    ledger = Ledger(root / "ledger.db")
    data = {"task": "gone", "task_folder": str(root / "gone"), "metric": "loss", "settings": "{}"}
    ledger.append(SESSION, Kind.SESSION_OPENED, "opened", at=1_000_000.0, data=data)
    ledger.close()
    return root


def task_folder(root: Path) -> Path:
    """A task that can be used as it is."""
    root.mkdir()
    (root / "task.toml").write_text(TASK, encoding="utf-8")
    (root / "train.py").write_text(TRAIN, encoding="utf-8")
    return root
