"""Tells a session as log lines, event by event, from the ledger alone: `start --plain` and `watch` say the same."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from swarm.config import Settings
from swarm.research.experiment import Experiment, Move, Status
from swarm.research.ledger import Event, Kind
from swarm.status import Json, noise_floors
from swarm.view import View
from swarm.wording import duration, fates, improvement, plain, score, share, short, worth

PROGRESS_SECONDS = 30.0  # between two lines of progress
WAVE_SECONDS = 5.0  # without another proposal a wave is taken to be complete


@dataclass(kw_only=True)
class _OpenWave:
    """A wave whose proposals are still coming in."""

    name: str
    design: str
    last_at: float  # unix seconds
    experiments: list[str] = field(default_factory=list)


class Narrator:
    """Feed it every event of a view in order, and ``tick`` now and then; both return lines to print."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._state = view.state
        self._began = 0.0  # unix seconds: when the newest run started
        self._wave: _OpenWave | None = None
        self._noise_told = False
        self._phase = ""
        self._next_progress = 0.0

    def tell(self, event: Event) -> list[str]:
        """The lines that an event is worth; often none."""
        lines = self._end_wave(event.at) if event.kind is not Kind.PROPOSED else []
        told = _TELL.get(event.kind)
        if told is not None:
            lines += [line for line in told(self, event) if line]
        return [self.stamped(event.at, line) for line in lines]

    def tick(self, now: float) -> list[str]:
        """What time alone brings: the end of a wave, another phase, a line of progress."""
        lines = self._end_wave(now)
        phase = self._view.phase()
        if phase != self._phase and phase not in ("", "starting", "working"):
            lines.append(phase)
        self._phase = phase
        if self._began and now >= self._next_progress:
            if self._next_progress:
                lines.append(self._progress())
            self._next_progress = now + PROGRESS_SECONDS
        return [self.stamped(now, line) for line in lines]

    def stamped(self, at: float, line: str) -> str:
        """A line behind the time since the run began; ``at`` in unix seconds."""
        return f"{duration(at - self._began) if self._began else '0:00':>8}  {plain(line)}"

    # ---- one kind of event each ----------------------------------------------------------------------------

    def _run_started(self, event: Event) -> list[str]:
        self._began = event.at
        if event.key == "1":
            return [f"{self._state.session} begins: task {self._state.opened['task']}"]
        return [
            f"{self._state.session} goes on: {len(self._state.experiments)} experiments on record, "
            f"{len(self._state.live_trials)} trials were running"
        ]

    def _run_ended(self, event: Event) -> list[str]:
        return [f"run ended: {event.data['reason']}"]

    def _wave_opened(self, event: Event) -> list[str]:
        told = self._end_wave(None)
        self._wave = _OpenWave(name=event.key, design=event.data["design"], last_at=event.at)
        return told

    def _proposed(self, event: Event) -> list[str]:
        if self._wave is not None and event.data["wave"] == self._wave.name:
            self._wave.experiments.append(self._short(event.experiment))
            self._wave.last_at = event.at
            return []
        if event.data["status"] in (Status.BASELINE, Status.ABLATION):
            return []
        return [f"{self._short(event.experiment)} proposed: {event.data['hypothesis']}"]

    def _end_wave(self, now: float | None) -> list[str]:
        """The line of a wave that is complete; ``now`` None: it is, since another one begins."""
        wave = self._wave
        if wave is None or (now is not None and now - wave.last_at < WAVE_SECONDS):
            return []
        self._wave = None
        if not wave.experiments:
            return []
        names = (
            wave.experiments[0] if len(wave.experiments) == 1 else f"{wave.experiments[0]} to {wave.experiments[-1]}"
        )
        many = "s" * (len(wave.experiments) != 1)
        return [f"{wave.name} ({wave.design}): {len(wave.experiments)} experiment{many} proposed, {names}"]

    def _moved(self, event: Event) -> list[str]:
        experiment = self._state.experiments[event.experiment or ""]
        name = self._short(experiment.id)
        why = "; ".join(event.data["reasons"]).replace(f"{self._state.session}-", "")
        move = Move(event.data["move"])
        if move is Move.CONFIRM:
            return [f"{name} CONFIRMED: {why} — {experiment.hypothesis}", self._best()]
        return [_MOVES[move].format(name=name, why=why)] if move in _MOVES else []

    def _trial_ended(self, event: Event) -> list[str]:
        experiment = self._state.experiments[event.experiment or ""]
        trial = next(t for t in experiment.trials if t.id == event.key)
        told = f"{trial.value:.4f}" if trial.value is not None else f"{trial.outcome} {trial.message}"
        if trial.holdout is not None:
            told += ", the hidden shard is read"
        name = self._short(experiment.id)
        return [f"{name} {trial.tier} seed {trial.seed} on {trial.slot}: {told}", self._noise(experiment)]

    def _noise(self, experiment: Experiment) -> str:
        """The noise floor, told once: when the baseline has its replicates on both tiers."""
        if self._noise_told or experiment.status is not Status.BASELINE:
            return ""
        settings = Settings.model_validate_json(self._state.opened["settings"])
        floors = noise_floors(self._state)
        if any(len(experiment.completed(tier)) < settings.promotion.replicates for tier in settings.tiers):
            return ""
        self._noise_told = True
        told = ", ".join(f"{tier} {sd:.4f}" for tier, sd in floors.items())
        return f"noise floor: sd of one score {told} {self._view.metric}"

    def _wave_analysed(self, event: Event) -> list[str]:
        title = self._view.title(event.data["entry"])
        return [f"{event.key} analysed: {title or event.data['entry']}"]

    def _ablated(self, event: Event) -> list[str]:
        out = event.data["taken_out"]
        return [f"worth {worth(change, out)}" for change in event.data["changes"]]

    def _plateau(self, event: Event) -> list[str]:
        return [f"plateau: no gain was confirmed in {event.data['experiments']} experiments; the search is widened"]

    def _told(self, event: Event) -> list[str]:
        return [f"{event.data['author']} {event.data['line']}"]

    # ---- where it stands -----------------------------------------------------------------------------------

    def _best(self) -> str:
        incumbent = self._view.status()["incumbent"]
        return (
            f"best is now {score(incumbent['value'], incumbent['ci95'])} {self._view.metric}: {improvement(incumbent)}"
        )

    def _progress(self) -> str:
        status = self._view.status()
        return progress_line(status, self._view.left(status).seconds, waiting=len(self._view.queue()))

    def _short(self, experiment: str | None) -> str:
        return short(experiment or "", self._state.session)


def progress_line(status: Json, seconds_left: float | None, *, waiting: int) -> str:
    """Where a session stands, in one line."""
    incumbent = status["incumbent"]
    parts = [f"{status['state']}: {fates(status['counts'])}", f"{waiting} trials queued"]
    if incumbent and incumbent["improvement_percent"]:
        parts.append(f"best {score(incumbent['value'])} ({incumbent['improvement_percent']:+.1f}%)")
    if status["occupancy"] is not None:
        parts.append(f"slots busy {share(status['occupancy'])}")
    if seconds_left is not None:
        parts.append(f"{duration(seconds_left)} left")
    return " · ".join(parts)


_MOVES = {
    Move.HOLD: "{name} waits for your yes: `swarm approve {name}` or `swarm reject {name}`",
    Move.REJECT: "{name} rejected: {why}",
    Move.PROMOTE: "{name} promoted: {why}",
    Move.REFUTE: "{name} refuted: {why}",
    Move.REBASE: "{name} {why}",
    Move.WITHDRAW: "{name} withdrawn: {why}",
    Move.STACK: "{name} stacked: {why}",
}

_TELL: Mapping[Kind, Callable[[Narrator, Event], list[str]]] = {
    Kind.RUN_STARTED: Narrator._run_started,
    Kind.RUN_ENDED: Narrator._run_ended,
    Kind.PROPOSED: Narrator._proposed,
    Kind.MOVED: Narrator._moved,
    Kind.TRIAL_ENDED: Narrator._trial_ended,
    Kind.WAVE_OPENED: Narrator._wave_opened,
    Kind.WAVE_ANALYSED: Narrator._wave_analysed,
    Kind.ABLATED: Narrator._ablated,
    Kind.PLATEAU: Narrator._plateau,
    Kind.TOLD: Narrator._told,
}
