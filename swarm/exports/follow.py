"""Follows a session's ledger and sends what is new: after the fact, while it runs, and on from where it was cut off."""

from collections.abc import Mapping
from functools import cached_property

from swarm.dossier import lineage_of
from swarm.exports.told import About, GainTold, Sink, TrialTold
from swarm.home import Home
from swarm.research.experiment import Knob, Move
from swarm.research.knobs import derive_ranges, read_knobs
from swarm.research.ledger import Event, Kind
from swarm.research.lineage import Lineage
from swarm.status import standing_of
from swarm.view import View
from trainer.contract import Range, find_task, read_curve


def about(view: View) -> About:
    """The session of a view; reads its first event where the view has read nothing."""
    if not view.state.opened:
        next(view.news())
    opened = view.state.opened
    return About(
        session=view.state.session, task=str(opened.get("task", "")), metric=view.metric, minimize=view.minimize
    )


class Exporter:
    """Sends one session to one sink. Raises TaskError when the task's folder, which names the file, is gone."""

    def __init__(self, home: Home, view: View, sink: Sink) -> None:
        """``view`` has read no trial yet: all its news come through here."""
        self._home, self._view, self._sink = home, view, sink
        self._known = sink.known()
        self._knobs: dict[str, Mapping[str, Knob]] = {}  # commit -> constants
        self._ended = 0  # trials so far
        self.sent = 0  # trials and gains that were not there before
        self.there = 0  # those that were

    def catch_up(self) -> int:
        """Send what is new on record; how much that was."""
        before = self.sent
        for event in self._view.news():
            if event.kind is Kind.TRIAL_ENDED:
                self._trial(event)
                self._ended += 1
            elif event.kind is Kind.MOVED and event.data["move"] == Move.CONFIRM:
                self._gain(event)
        return self.sent - before

    def _trial(self, event: Event) -> None:
        experiment = self._view.state.experiments[event.experiment or ""]
        trial = next(one for one in experiment.trials if one.id == event.key)
        if self._is_there(trial.id):
            return
        told = TrialTold(
            trial=trial,
            experiment=experiment,
            knobs=self._knobs_of(trial.candidate),
            ranges=self._ranges,
            curve=read_curve(self._home.session(self._view.state.session) / "trials" / trial.id),
            number=self._ended,
        )
        self._sink.trial(told)
        self.sent += 1

    def _gain(self, event: Event) -> None:
        experiment = self._view.state.experiments[event.experiment or ""]
        standing = standing_of(self._view.state, experiment, minimize=self._view.minimize)
        if standing is None or self._is_there(experiment.id):
            return
        self._sink.gain(GainTold(experiment=experiment.id, value=standing.value, at=event.at, number=self._ended))
        self.sent += 1

    def _is_there(self, name: str) -> bool:
        there = name in self._known
        self.there += there
        return there

    def _knobs_of(self, commit: str) -> Mapping[str, Knob]:
        if commit not in self._knobs:
            self._knobs[commit] = read_knobs(self._lineage.source(commit))
        return self._knobs[commit]

    @cached_property
    def _lineage(self) -> Lineage:
        return lineage_of(self._home, self._view)

    @cached_property
    def _ranges(self) -> Mapping[str, Range]:
        """Where the baseline's constants are searched: the same for all of a session's trials."""
        task = find_task(self._view.state.opened["task_folder"])
        return derive_ranges(self._knobs_of(self._view.state.baseline.candidate), task.ranges)
