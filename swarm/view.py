"""A session seen from outside its process: what `status`, `watch`, the dashboard and the listings read."""

import os
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from notebook_store.entry import Entry
from notebook_store.entry import Kind as EntryKind
from notebook_store.errors import NoNotebook, UnknownEntry
from notebook_store.notebook import Notebook
from swarm.agents.kept import Voice, voices_in
from swarm.config import Limits, Settings
from swarm.errors import InputError
from swarm.home import Home
from swarm.influence import Influence, influence
from swarm.leases.budget import Budget, Left, Spent
from swarm.leases.lease import SlotState, SlotUse, Waiting
from swarm.leases.manager import LeaseManager
from swarm.ports import Clock, SystemClock
from swarm.research.experiment import Move
from swarm.research.ledger import Event, Kind, Ledger
from swarm.research.state import SessionState
from swarm.status import LIVE, Json, Vitals, measured_spans, status_of

_REMEMBERED = 15  # ended trials a tier from which the length of the next is told


class View:
    """One session of a home, kept up to date by reading what is new. Writes nothing. Used from one thread at a time."""

    def __init__(
        self,
        home: Home,
        session: str | None = None,
        *,
        phase: Callable[[], str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        """Open the session named, or the newest one.

        ``phase`` says what the running session is doing; None: what it left with its last pulse. Raises InputError
        when there is no such session, HomeTooNew.
        """
        self._clock = clock or SystemClock()
        self._ledger = Ledger(home.ledger)
        self._leases = LeaseManager(home.leases, self._clock)
        self.home = home.root
        self._notebook_folder = home.notebook
        self._notebook: Notebook | None = None
        self._limits: Limits | None = None
        self._promoted: set[str] = set()
        self._lasted: dict[str, deque[float]] = {}  # tier -> seconds its last trials took
        self.state = SessionState(find_session(self._ledger, session, home.root))
        self._thoughts = home.session(self.state.session) / "thoughts.db"
        self.phase = phase or (lambda: self._ledger.phase(self.state.session))

    def close(self) -> None:
        self._leases.close()
        self._ledger.close()
        if self._notebook is not None:
            self._notebook.close()

    def __enter__(self) -> "View":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- what happened -------------------------------------------------------------------------------------

    def news(self) -> Iterator[Event]:
        """Events since the last call; the state is as of the event that is yielded."""
        for event in self._ledger.events(self.state.session, after=self.state.seq):
            self.state.apply(event)
            self._note(event)
            yield event

    def refresh(self) -> "View":
        """Read what is new."""
        for _ in self.news():
            pass
        return self

    def history(self, experiment: str) -> list[Event]:
        """Every event of one experiment, oldest first."""
        return list(self._ledger.events(self.state.session, experiment=experiment))

    def _note(self, event: Event) -> None:
        if event.kind is Kind.RUN_STARTED and "limits" in event.data:
            self._limits = Limits.model_validate(event.data["limits"])
        if event.kind is Kind.MOVED and event.data["move"] == Move.PROMOTE and event.experiment:
            self._promoted.add(event.experiment)
        if event.kind is Kind.TRIAL_ENDED and event.data["value"] is not None and event.experiment:
            trial = next(t for t in self.state.experiments[event.experiment].trials if t.id == event.key)
            lasted = self._lasted.setdefault(trial.tier, deque(maxlen=_REMEMBERED))
            lasted.append(event.at - trial.started_at)

    # ---- what is the case ----------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Unix seconds."""
        return self._clock.now()

    @property
    def metric(self) -> str:
        return str(self.state.opened.get("metric", "score"))

    @property
    def minimize(self) -> bool:
        return bool(self.state.opened.get("direction", "minimize") == "minimize")

    @property
    def live(self) -> bool:
        """Whether a process works on the session."""
        return self.status()["state"] in LIVE

    def status(self) -> Json:
        """The fields of `swarm status --json`, as of now."""
        state = self.state
        run = state.runs.get(len(state.runs))
        vitals = Vitals(
            now=self.now,
            pulses=self._ledger.pulses(state.session),
            process_alive=run is not None and process_exists(run.pid),
            phase=self.phase(),
            booted_at=booted_at(),
            promoted=len(self._promoted),
            use=self.use(),
        )
        spans = measured_spans(state, vitals)
        busy = sum(
            slot.seconds
            for start, end in spans
            for slot in self._leases.lease_seconds(session=state.session, since=start, until=end)
        )
        offered = sum(slot.offered for slot in self._leases.slots())
        return status_of(state, replace(vitals, busy_seconds=busy, slots=max(offered, len(vitals.use))))

    def left(self, status: Json) -> Left:
        """What remains of each limit of the session."""
        spent = Spent(
            seconds=status["elapsed_seconds"],
            experiments=self.state.begun(),
            gpu_hours=status["gpu_hours"],
            dollars=status["dollars"],
            tokens=status["tokens"],
        )
        return Budget(limits=self.limits, spent=spent).left

    @property
    def limits(self) -> Limits:
        """Those of the newest run, else those that the session was opened with."""
        if self._limits is None:
            self._limits = Settings.model_validate_json(self.state.opened["settings"]).limits
        return self._limits

    def hours_at(self, at: float) -> float:
        """Hours worked up to a moment (unix seconds); time between runs is left out."""
        ends = (
            (run.started_at, at if run.ended_at is None else min(at, run.ended_at)) for run in self.state.runs.values()
        )
        return sum(max(0.0, end - start) for start, end in ends) / 3600

    def use(self) -> list[SlotUse]:
        """What the session's leases took of each slot."""
        return self._leases.lease_seconds(session=self.state.session)

    def slots(self) -> list[SlotState]:
        """The slots of the home and who has them."""
        return self._leases.slots()

    def queue(self) -> list[Waiting]:
        """The session's requests that wait for a slot, oldest first."""
        return [waiting for waiting in self._leases.queue() if waiting.session == self.state.session]

    def voices(self) -> list[Voice]:
        """Who thinks at the moment, and the end of what each says: foreign text. A dead session's last words, too."""
        run = self.state.runs.get(len(self.state.runs))
        if run is None or run.ended_at is not None:
            return []
        return [voice for voice in voices_in(self._thoughts) if voice.doing and voice.at >= run.started_at]

    def typical_seconds(self, tier: str) -> float | None:
        """How long a trial of the tier takes: the median of the last ones; None before any has ended."""
        lasted = self._lasted.get(tier)
        return statistics.median(lasted) if lasted else None

    # ---- the notebook --------------------------------------------------------------------------------------

    def entries(self, limit: int, kinds: Sequence[EntryKind]) -> list[Entry]:
        """The session's newest notebook entries of these kinds, newest first."""
        notebook = self._opened_notebook()
        return [] if notebook is None else notebook.entries(limit=limit, session=self.state.session, kinds=kinds)

    def title(self, entry_id: str) -> str | None:
        """The title of a notebook entry; None when there is no such entry."""
        notebook = self._opened_notebook()
        if notebook is None:
            return None
        try:
            return notebook.get(entry_id).title
        except UnknownEntry:
            return None

    def influence(self, experiment: str) -> Influence:
        """What an experiment goes back to, and what came out of it."""
        notebook = self._opened_notebook()
        return Influence(nodes={}, edges=()) if notebook is None else influence(notebook, [experiment])

    def _opened_notebook(self) -> Notebook | None:
        if self._notebook is None:
            try:
                self._notebook = Notebook.read(self._notebook_folder)
            except NoNotebook:
                return None
        return self._notebook


def find_session(ledger: Ledger, name: str | None, root: Path) -> str:
    """The session named, or the newest. Raises InputError naming those there are."""
    known = ledger.sessions()
    if not known:
        raise InputError(f"no session in {root} yet; begin with `swarm start`, or give --home")
    if name is None:
        return known[-1]
    if name not in known:
        shown = ", ".join(known[-10:])
        raise InputError(f"no session '{name}' in {root}; there are: {shown}")
    return name


def booted_at() -> float:
    """When this machine started, unix seconds."""
    import psutil

    return float(psutil.boot_time())


def process_exists(pid: int) -> bool:
    """Whether a process of this machine has the pid."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
