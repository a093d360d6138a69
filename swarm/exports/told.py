"""What is sent of a session, and the port of those it is sent to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from swarm.research.experiment import Experiment, Knob, Trial
from trainer.contract import Range


@dataclass(frozen=True, kw_only=True)
class About:
    """The session that is sent."""

    session: str
    task: str
    metric: str
    minimize: bool


@dataclass(frozen=True, kw_only=True)
class TrialTold:
    """One trial that has ended."""

    trial: Trial
    experiment: Experiment  # it belongs to, as of the trial's end
    knobs: Mapping[str, Knob]  # every constant of the file it ran
    ranges: Mapping[str, Range]  # where the baseline's constants are searched; those that are not, have none
    curve: Sequence[Mapping[str, float]]  # training loss: step, seconds (charged), loss; empty where none is kept
    number: int  # of the session's trials, in the order they ended: 0, 1, ...

    @property
    def facts(self) -> dict[str, str | int]:
        """What it ran as, beside its constants."""
        trial = self.trial
        return {
            "experiment": trial.experiment,
            "author": self.experiment.author,
            "wave": self.experiment.wave or "",
            "hypothesis": self.experiment.hypothesis,
            "commit": trial.candidate,
            "tier": trial.tier,
            "slot": trial.slot,
            "accelerator": trial.accelerator,
            "seed": trial.seed,
            "outcome": trial.outcome or "",
        }

    def measured(self, metric: str) -> dict[str, float]:
        """Its figures; those it has not are left out."""
        trial = self.trial
        every = {
            metric: trial.value,
            f"{metric} on the hidden shard": trial.holdout,
            "train seconds": trial.train_seconds,
            "peak memory MiB": trial.peak_memory_mb,
            "steps": trial.steps,
        }
        return {name: float(value) for name, value in every.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class GainTold:
    """A gain that was confirmed: from then on the best is another."""

    experiment: str
    value: float  # mean on the validation tier when it was confirmed
    at: float  # unix seconds
    number: int  # trials that had ended


class Sink(Protocol):
    """Somewhere that trials and gains go to.

    What is sent twice is there once: an exporter may die between any two steps and begin again.
    """

    def known(self) -> set[str]:
        """Ids of the trials, and experiments of the gains, that are there whole."""
        ...

    def trial(self, told: TrialTold) -> None: ...
    def gain(self, told: GainTold) -> None: ...
    def close(self) -> None:
        """Nothing more comes for now."""
        ...
