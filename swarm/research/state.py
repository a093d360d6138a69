"""What the ledger's events add up to: the state of one session. Pure; costs grow with events, not history."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from swarm.research.bids import TrackRecord
from swarm.research.experiment import Experiment, Move, Status, Trial, changed
from swarm.research.ledger import Event, Kind
from swarm.research.promotion import Noise, NoiseFloor
from swarm.research.shelf import Shelf
from swarm.research.speeds import Speeds

_DECIDED = (Move.PRUNE, Move.REFUTE, Move.CRASH)  # moves that end an experiment without a gain
CURVES = 200  # recent loss curves that tell whether a trial is hopeless


@dataclass(frozen=True, kw_only=True)
class Run:
    """One process's work on the session."""

    number: int  # 1, 2, ...
    pid: int
    started_at: float  # unix seconds
    ended_at: float | None = None  # None: it lives, or died without a word
    reason: str = ""  # why it ended


@dataclass(frozen=True, kw_only=True)
class Wave:
    """Experiments that share a design."""

    name: str
    design: str
    parent: str  # commit all its edits were made on
    entry: str | None = None  # notebook id of the analyst's finding; None until analysed
    reflected: bool = False  # whether those who think have looked at it


@dataclass(frozen=True, kw_only=True)
class Plateau:
    """An announcement that no gain was confirmed for long."""

    level: int  # 1, 2, ... since the last confirmed gain
    experiments: int  # decided since then


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What was spent on models."""

    calls: int = 0
    tokens: int = 0  # of questions and answers
    dollars: float = 0.0
    estimated: bool = False  # some endpoint did not count its tokens

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(
            calls=self.calls + other.calls,
            tokens=self.tokens + other.tokens,
            dollars=self.dollars + other.dollars,
            estimated=self.estimated or other.estimated,
        )


@dataclass(frozen=True, kw_only=True)
class Reviewed:
    """What a reviewer that thinks said of a proposal which had passed all that needs no thought."""

    verdict: str  # APPROVED, REVISE, REJECTED
    sampled: bool  # it runs although it was rejected: so the reviewer is measured


class SessionState:
    """The state of one session, by replay. Reading is free; only ``apply`` changes it."""

    def __init__(self, session: str, *, remembered: int | None = None) -> None:
        """``remembered``: how many experiments that are over are kept ready; older ones are packed. None: all."""
        self.session = session
        self.opened: Mapping[str, Any] = {}  # task, task_folder, seed, ... as SESSION_OPENED told
        self.opened_at = 0.0  # unix seconds
        self.experiments = Shelf()  # in order of their proposal
        self._remembered = remembered
        self._over: deque[str] = deque()  # experiments that are over and not packed, oldest first
        self.runs: dict[int, Run] = {}
        self.waves: dict[str, Wave] = {}
        self.incumbents: list[str] = []  # experiments whose candidate became the best; the baseline first
        self.confirmed_at: dict[str, float] = {}  # of them, those that were CONFIRMED -> unix seconds
        self.validations = 0  # decided so far
        self.confirmed_tests: list[int] = []  # numbers of the validations that confirmed
        self.origins: dict[str, str] = {}  # origin of a proposal -> its experiment
        self.spent: dict[str, Spending] = {}  # author -> what it spent on models
        self.reviews: dict[str, Reviewed] = {}  # experiment -> what the reviewer's model said of it
        self.ablations: dict[str, Mapping[str, Any]] = {}  # incumbent -> its changes' worth, as ABLATED told
        self.told: dict[str, str] = {}  # author -> what a person was told of it since it last answered
        self.barren = 0  # experiments decided since the last confirmed gain, or the start
        self.plateau: Plateau | None = None  # the last one announced, until a gain is confirmed
        self.plateaus = 0  # announced so far
        self.ended: str | None = None  # why the session is over
        self.seq = 0  # of the last event applied
        self.live_trials: dict[str, Trial] = {}  # started and not ended, by id
        self.touched: dict[str, None] = {}  # experiments that changed, for one reader that takes them out
        self.speeds = Speeds()
        self.curves: dict[str, deque[Sequence[float]]] = {}  # accelerator -> loss curves of recent screening trials
        self.records: dict[str, TrackRecord] = defaultdict(TrackRecord)  # author -> what it promised and what came
        self.unread_waves: dict[str, None] = {}  # names of waves not yet analysed, in order
        self.unreflected_waves: dict[str, None] = {}  # names of analysed waves that nobody has yet reflected on
        self._by_status: dict[Status, dict[str, None]] = {status: {} for status in Status}
        self._by_candidate: dict[str, str] = {}  # commit -> experiment
        self._floors: dict[tuple[str, str], NoiseFloor] = {}  # (tier, accelerator) -> floor

    @classmethod
    def replay(cls, session: str, events: Iterable[Event], *, remembered: int | None = None) -> "SessionState":
        state = cls(session, remembered=remembered)
        for event in events:
            state.apply(event)
        return state

    def apply(self, event: Event) -> None:
        """Take in one event. Raises IllegalTransition when the ledger holds an impossible move."""
        self.seq = event.seq
        _APPLY[event.kind](self, event)

    def _put(self, experiment: Experiment) -> None:
        known = self.experiments.get(experiment.id)
        if known is not None and known.status is not experiment.status:
            del self._by_status[known.status][experiment.id]
        self.experiments.put(experiment)
        self._by_candidate[experiment.candidate] = experiment.id
        self.touched[experiment.id] = None
        self._by_status[experiment.status].setdefault(experiment.id)
        if experiment.is_final and not (known is not None and known.is_final):
            self._over.append(experiment.id)
            while self._remembered is not None and len(self._over) > self._remembered:
                self._retire(self._over.popleft())

    def _retire(self, name: str) -> None:
        """Pack an experiment that is long over, and keep no more of its candidates than the sums they went into."""
        if name in self.incumbents:
            return
        experiment = self.experiments[name]
        self.experiments.shelve(name)
        self.records[experiment.author].settle(name)
        for candidate in {experiment.candidate, *(trial.candidate for trial in experiment.trials)}:
            self._by_candidate.pop(candidate, None)
            self.speeds.forget(candidate)
            for floor in self._floors.values():
                floor.settle(candidate)

    # ---- what follows from it -------------------------------------------------------------------------

    @property
    def baseline(self) -> Experiment:
        return next(iter(self.experiments.values()))

    @property
    def incumbent(self) -> Experiment:
        """The best candidate whose gain is confirmed; the baseline before any is."""
        return self.experiments[self.incumbents[-1]]

    def name_of(self, number: int) -> str:
        """The id of the experiment that was proposed as the so-manieth, from 0."""
        return f"{self.session}-e{number:03d}"

    def of_candidate(self, commit: str) -> Experiment | None:
        """The experiment whose candidate is, or was, this commit."""
        name = self._by_candidate.get(commit)
        return None if name is None else self.experiments[name]

    def of_status(self, *statuses: Status) -> list[Experiment]:
        """Experiments of these statuses; within one status, in the order they reached it."""
        return [self.experiments[name] for status in statuses for name in self._by_status[status]]

    def count(self, *statuses: Status) -> int:
        return sum(len(self._by_status[status]) for status in statuses)

    def begun(self) -> int:
        """Experiments that count against --experiments: proposed and not rejected."""
        return len(self.experiments) - self.count(Status.BASELINE, Status.REJECTED, Status.ABLATION)

    def noise(self, tier: str, accelerator: str) -> Noise | None:
        """The noise floor of a group, pooled over every candidate that ran there more than once."""
        floor = self._floors.get((tier, accelerator))
        return floor.noise if floor else None

    def accelerators(self, tier: str) -> list[str]:
        """Accelerator types with a completed trial on the tier, in the order they were first used."""
        return [accelerator for known, accelerator in self._floors if known == tier]

    def spending(self, author: str | None = None) -> Spending:
        """What one author, or everybody, spent on models."""
        if author is not None:
            return self.spent.get(author, Spending())
        return sum(self.spent.values(), Spending())

    def elapsed(self, pulses: Mapping[int, float]) -> float:
        """Seconds worked in all runs, a live one up to its last pulse; time between runs is left out."""
        total = 0.0
        for run in self.runs.values():
            alive = run.ended_at if run.ended_at is not None else pulses.get(run.number, run.started_at)
            total += max(0.0, alive - run.started_at)
        return total


def _session_opened(state: SessionState, event: Event) -> None:
    state.opened, state.opened_at = event.data, event.at


def _run_started(state: SessionState, event: Event) -> None:
    number = int(event.key)
    state.runs[number] = Run(number=number, pid=_data(event)["pid"], started_at=event.at)
    state.ended = None


def _run_ended(state: SessionState, event: Event) -> None:
    number = int(event.key)
    state.runs[number] = replace(state.runs[number], ended_at=event.at, reason=_data(event)["reason"])


def _proposed(state: SessionState, event: Event) -> None:
    data = _data(event)
    name = event.experiment or ""
    state._put(
        Experiment(
            id=name,
            status=Status(data["status"]),
            author=data["author"],
            hypothesis=data["hypothesis"],
            parent=data["parent"],
            candidate=data["candidate"],
            changes=data["changes"],
            expected_gain=data["expected_gain"],
            citations=tuple(data["citations"]),
            wave=data["wave"],
            created_at=event.at,
        )
    )
    if data.get("origin"):
        state.origins[data["origin"]] = name
    if data["status"] == Status.BASELINE:
        state.incumbents.append(name)


def _moved(state: SessionState, event: Event) -> None:
    data = _data(event)
    experiment = state.experiments[event.experiment or ""]
    move = Move(data["move"])
    state._put(
        experiment.advance(
            move,
            reasons=tuple(data["reasons"]),
            verdict=data["verdict"],
            candidate=data["candidate"],
            parent=data["parent"],
        )
    )
    shown = (data["verdict"] or {}).get("gain")
    if shown is not None:
        state.records[experiment.author].add(experiment.id, experiment.expected_gain, shown)
    if move in _DECIDED:
        state.barren += 1
    if move in (Move.CONFIRM, Move.REFUTE):
        state.validations += 1
    if move is Move.CONFIRM:
        state.incumbents.append(experiment.id)
        state.confirmed_at[experiment.id] = event.at
        state.confirmed_tests.append(state.validations)
        state.barren, state.plateau = 0, None


def _trial_started(state: SessionState, event: Event) -> None:
    experiment = state.experiments[event.experiment or ""]
    trial = Trial(experiment=experiment.id, started_at=event.at, **_data(event))
    state._put(experiment.with_trial(trial))
    state.live_trials[trial.id] = trial


def _trial_ended(state: SessionState, event: Event) -> None:
    experiment = state.experiments[event.experiment or ""]
    trial = changed(state.live_trials.pop(event.key), ended_at=event.at, **_data(event))
    state._put(experiment.with_trial(trial))
    state.speeds.add(trial)
    if trial.tier == "screen" and trial.completed and trial.curve:
        state.curves.setdefault(trial.accelerator, deque(maxlen=CURVES)).append(trial.curve)
    if trial.value is not None:
        floor = state._floors.setdefault((trial.tier, trial.accelerator), NoiseFloor())
        floor.add(trial.candidate, trial.value)


def _wave_opened(state: SessionState, event: Event) -> None:
    data = _data(event)
    state.waves[event.key] = Wave(name=event.key, design=data["design"], parent=data["parent"])
    state.unread_waves[event.key] = None


def _wave_analysed(state: SessionState, event: Event) -> None:
    state.waves[event.key] = replace(state.waves[event.key], entry=_data(event)["entry"])
    state.unread_waves.pop(event.key, None)
    state.unreflected_waves[event.key] = None


def _wave_reflected(state: SessionState, event: Event) -> None:
    state.waves[event.key] = replace(state.waves[event.key], reflected=True)
    state.unreflected_waves.pop(event.key, None)


def _plateau(state: SessionState, event: Event) -> None:
    state.plateaus += 1
    state.plateau = Plateau(**_data(event))


def _told(state: SessionState, event: Event) -> None:
    state.told[_data(event)["author"]] = _data(event)["line"]


def _model_asked(state: SessionState, event: Event) -> None:
    data = _data(event)
    spent = Spending(
        calls=1,
        tokens=data["prompt_tokens"] + data["completion_tokens"],
        dollars=data["dollars"],
        estimated=data["estimated"],
    )
    state.spent[data["author"]] = state.spent.get(data["author"], Spending()) + spent
    state.told.pop(data["author"], None)  # it answers again


def _reviewed(state: SessionState, event: Event) -> None:
    data = _data(event)
    state.reviews[event.key] = Reviewed(verdict=data["verdict"], sampled=data["sampled"])


def _ablated(state: SessionState, event: Event) -> None:
    state.ablations[event.key] = event.data


def _session_ended(state: SessionState, event: Event) -> None:
    state.ended = _data(event)["reason"]


def _data(event: Event) -> dict[str, Any]:
    return dict(event.data)


_APPLY: Mapping[Kind, Callable[[SessionState, Event], None]] = {
    Kind.SESSION_OPENED: _session_opened,
    Kind.RUN_STARTED: _run_started,
    Kind.RUN_ENDED: _run_ended,
    Kind.PROPOSED: _proposed,
    Kind.MOVED: _moved,
    Kind.TRIAL_STARTED: _trial_started,
    Kind.TRIAL_ENDED: _trial_ended,
    Kind.WAVE_OPENED: _wave_opened,
    Kind.WAVE_ANALYSED: _wave_analysed,
    Kind.MODEL_ASKED: _model_asked,
    Kind.REVIEWED: _reviewed,
    Kind.WAVE_REFLECTED: _wave_reflected,
    Kind.PLATEAU: _plateau,
    Kind.TOLD: _told,
    Kind.ABLATED: _ablated,
    Kind.SESSION_ENDED: _session_ended,
}


def seeds(session_seed: int, purpose: str, count: int) -> Sequence[int]:
    """Trial seeds for a purpose: fixed by the session's seed, disjoint between purposes."""
    start = {"screen": 1_000, "reference": 2_000, "validate": 3_000, "closing": 4_000}[purpose]
    return range(session_seed * 10_000 + start, session_seed * 10_000 + start + count)
