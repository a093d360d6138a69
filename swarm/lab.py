"""All that the steps of an experiment work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from swarm.config import Settings
from swarm.journal import Journal
from swarm.observer import Observer
from swarm.ports import CandidateStore, Clock
from swarm.research.experiment import Experiment, Proposal, Review
from swarm.scribe import Scribe
from swarm.trials import Trials
from trainer.contract import Task

Reviewer = Callable[[Experiment, Proposal], Awaitable[Review]]


@dataclass(frozen=True, kw_only=True)
class Lab:
    """All that the steps of an experiment work with."""

    task: Task
    settings: Settings
    journal: Journal
    trials: Trials
    lineage: CandidateStore
    scribe: Scribe
    review: Reviewer
    observer: Observer
    clock: Clock
