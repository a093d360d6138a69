"""The folder that holds everything a project keeps, and who owns it."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from swarm.errors import HomeBusy, HomeTooNew, InputError

VERSION = 1  # raised when the layout below changes; an older program refuses a newer home
PATIENCE_SECONDS = 0.5  # for a lock that is only being looked at


class Home:
    """Paths of a home. Making one writes its version and nothing else.

    HOME/ledger.db             events of all sessions
    HOME/leases.db             slots, leases, queue
    HOME/notebook/             the shared notebook
    HOME/papers/               the library
    HOME/clusters/             clusters that were started and are not known to be gone
    HOME/exports/              what `swarm export` wrote for other tools
    HOME/owner.lock            held by the one process that keeps the notebook's vector index
    HOME/sessions/NAME/        repo.git, trials/, compiled/ (what candidates compiled, for their next trials); work.lock
                               is held by the process that works on it
    """

    def __init__(self, root: Path, *, create: bool) -> None:
        """Open a home. Raises HomeTooNew, and InputError when it is missing, cannot be made or cannot be written."""
        self.root = root.expanduser().resolve()
        mark = self.root / "version"
        if not mark.exists():
            if not create:
                raise InputError(f"no research at {root} yet; begin with `swarm start`, or give --home")
            try:
                self.root.mkdir(parents=True, exist_ok=True)
                mark.write_text(f"{VERSION}\n", encoding="ascii")
            except OSError as error:
                raise InputError(f"cannot make a home at {root}: {error.strerror}; choose another --home") from error
        if not os.access(self.root, os.W_OK):
            raise InputError(
                f"the home {self.root} cannot be written, and even looking needs that (SQLite keeps locks beside its "
                "files); make it writable, or copy it and give --home"
            )
        version = mark.read_text(encoding="ascii").strip()
        if not version.isdigit() or int(version) > VERSION:
            raise HomeTooNew(
                f"the home {root} was made by a newer nightswarm (layout {version}, this one knows {VERSION}); "
                "upgrade nightswarm or choose another --home"
            )

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.db"

    @property
    def leases(self) -> Path:
        return self.root / "leases.db"

    @property
    def notebook(self) -> Path:
        return self.root / "notebook"

    @property
    def papers(self) -> Path:
        return self.root / "papers"

    @property
    def clusters(self) -> Path:
        return self.root / "clusters"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    def session(self, name: str) -> Path:
        return self.root / "sessions" / name

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Own the home while the block runs. Raises HomeBusy naming the owner."""

        def busy(pid: int | str) -> str:
            from notebook_store.server import served_at

            url = served_at(self.notebook)
            reach = f"reach its notebook with --url {url}, " if url else ""
            return (
                f"the home {self.root} is in use by process {pid}; look with `swarm watch`, "
                f"{reach}end it with `swarm stop`, or choose another --home"
            )

        with _held(self.root / "owner", busy):
            yield

    @contextmanager
    def working(self, session: str) -> Iterator[None]:
        """Be the one process that works on a session while the block runs. Raises HomeBusy naming who does."""

        def busy(pid: int | str) -> str:
            return (
                f"session {session} is in use by process {pid}; look with `swarm watch {session}`, end it "
                f"with `swarm stop {session}`, or begin another beside it with --session NAME"
            )

        with _held(self.session(session) / "work", busy):
            yield

    def is_owned(self) -> bool:
        """Whether some process owns the home now."""
        lock = self.root / "owner.lock"
        return lock.exists() and _is_held(lock)

    def at_work(self) -> set[str]:
        """The sessions that a process works on now."""
        return {lock.parent.name for lock in (self.root / "sessions").glob("*/work.lock") if _is_held(lock)}


@contextmanager
def _held(name: Path, busy: Callable[[int | str], str]) -> Iterator[None]:
    """Hold ``name``.lock while the block runs, with our pid in ``name``.json.

    Raises HomeBusy where another does, with what ``busy`` says of its pid.
    """
    name.parent.mkdir(parents=True, exist_ok=True)
    lock, noted = FileLock(name.with_name(f"{name.name}.lock")), name.with_name(f"{name.name}.json")
    try:
        lock.acquire(timeout=PATIENCE_SECONDS)
    except Timeout:
        raise HomeBusy(busy(owner_pid(noted) or "unknown")) from None
    try:
        noted.write_text(json.dumps({"pid": os.getpid()}), encoding="ascii")
        yield
    finally:
        noted.unlink(missing_ok=True)
        lock.release()


def _is_held(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def owner_pid(path: Path) -> int | None:
    """The pid an owner noted; None when there is none to read."""
    try:
        return int(json.loads(path.read_text(encoding="ascii"))["pid"])
    except (OSError, ValueError, KeyError):
        return None
