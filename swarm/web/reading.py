"""What the pages read: views of sessions, the notebook and the library, each opened once and shared by threads."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from notebook_store.errors import NoNotebook
from notebook_store.notebook import Notebook
from papers.library import Library
from swarm.dossier import lineage_of
from swarm.home import Home
from swarm.research.ledger import Ledger
from swarm.view import View, find_session
from trainer.contract import TaskError

_VIEWS = 4  # sessions whose state is kept in memory: two that are compared, and two more


@dataclass(frozen=True, kw_only=True)
class Doors:
    """How the notebook and the library are opened: beside a session that owns them, or without one."""

    notebook: Callable[[], Notebook]  # raises NoNotebook while there is none
    library: Callable[[], Library]


@dataclass(kw_only=True)
class _Shared:
    view: View
    lock: threading.Lock = field(default_factory=threading.Lock)


class Reading:
    """One home, read from many threads."""

    def __init__(self, home: Home, doors: Doors) -> None:
        self.home = home
        self._doors = doors
        self._lock = threading.Lock()  # of _views
        self._opening = threading.Lock()  # of the notebook and the library; nothing else is locked under it
        self._ledger = Ledger(home.ledger)
        self._views: OrderedDict[str, _Shared] = OrderedDict()
        self._notebook: Notebook | None = None
        self._library: Library | None = None

    def close(self) -> None:
        with self._lock, self._opening:
            for shared in self._views.values():
                with shared.lock:
                    shared.view.close()
            self._views.clear()
            self._ledger.close()
            for opened in (self._notebook, self._library):
                if opened is not None:
                    opened.close()

    def sessions(self) -> list[str]:
        """Names of all sessions, newest first."""
        return self._ledger.sessions()[::-1]

    @contextmanager
    def view(self, session: str | None = None) -> Iterator[View]:
        """The session named, or the newest, as of now; no other thread has its view meanwhile. Raises InputError."""
        while True:
            with self._lock:
                name = find_session(self._ledger, session, self.home.root)
                shared = self._views.get(name)
                if shared is None:
                    shared = self._views[name] = _Shared(view=View(self.home, name))
                self._views.move_to_end(name)
            with shared.lock:  # not under _lock: whoever has the view may need that
                if self._views.get(name) is not shared:
                    continue  # it was closed while we waited
                yield shared.view.refresh()
            self._forget()
            return

    def _forget(self) -> None:
        """Close the views that were not asked for lately, as far as nobody uses them."""
        with self._lock:
            for name in list(self._views)[:-_VIEWS]:
                shared = self._views[name]
                if shared.lock.acquire(blocking=False):
                    self._views.pop(name).view.close()
                    shared.lock.release()

    @property
    def notebook(self) -> Notebook | None:
        """The notebook; None while nobody has written in it."""
        with self._opening:
            if self._notebook is None:
                try:
                    self._notebook = self._doors.notebook()
                except NoNotebook:
                    return None
            return self._notebook

    @property
    def library(self) -> Library:
        """The library; the starter corpus is in it."""
        with self._opening:
            if self._library is None:
                self._library = self._doors.library()
            return self._library

    def diff(self, view: View, old: str, new: str) -> str | None:
        """Unified diff of two candidates; None when the task's folder, which names the file, is gone."""
        try:
            return lineage_of(self.home, view).diff(old, new)
        except TaskError:
            return None

    def trial_folder(self, session: str, trial: str) -> Path:
        """Where a trial of this machine left what it wrote."""
        return self.home.session(session) / "trials" / trial
