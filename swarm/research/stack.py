"""What the incumbent is made of: the changes that were kept, what each is worth, whether two add up. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarm.research.experiment import Experiment, Knob
from swarm.research.promotion import Gain
from swarm.research.state import SessionState

ABLATION = "ablation"  # author of the variants that take changes back


@dataclass(frozen=True, kw_only=True)
class Change:
    """One kept change: a constant that was set, or a step that edited code."""

    name: str  # the constant, or the id of the step's experiment
    before: str | None = None  # commit before the step; None for a constant
    after: str | None = None  # commit after it; None for a constant


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What a change is worth to the incumbent: its gain over the incumbent without that change."""

    name: str
    told: str  # the change, for a person
    gain: Gain
    experiment: str  # that ran without it

    @property
    def idle(self) -> bool:
        """Whether the file is as good without it, by the one-standard-error rule (Breiman, Friedman, Olshen and Stone,
        Classification and Regression Trees, 1984, section 3.4.3).
        """
        return self.gain.mean <= self.gain.se


def taken_apart(state: SessionState) -> Experiment:
    """Whom an ablation is about: the incumbent, or the one that it simplifies."""
    return state.experiments[state.incumbent.verdict.get("instead_of", state.incumbent.id)]


def kept_changes(state: SessionState, incumbent: Experiment) -> list[Change]:
    """What leads from the baseline to an incumbent: constants by name, then code steps in their order."""
    constants: dict[str, None] = {}
    steps: list[Change] = []
    one = incumbent
    while one.parent is not None:
        if one.changes:
            constants |= dict.fromkeys(one.changes)
        elif one.author != ABLATION:
            steps.append(Change(name=one.id, before=one.parent, after=one.candidate))
        parent = state.of_candidate(one.parent)
        if parent is None:
            break
        one = parent
    return [*(Change(name=name) for name in sorted(constants)), *reversed(steps)]


def idle_sets(worths: Sequence[Worth]) -> list[list[Worth]]:
    """Which changes to try to do without: all that seem idle together, then the one that seems worth least.

    Two changes that stand in for each other both seem idle, and yet one of them is needed. Something is always kept.
    """
    idle = sorted((worth for worth in worths if worth.idle), key=lambda worth: worth.gain.mean)
    together = idle if len(idle) < len(worths) else idle[:-1]
    return [some for some in (together, idle[:1]) if some and len(some) < len(worths)][: 2 if len(together) > 1 else 1]


def as_good(gain: Gain) -> bool:
    """Whether a simpler file is as good, given its gain over the other: not worse by more than a standard error."""
    return gain.mean >= -gain.se


def interaction(together: Gain, alone: Gain) -> Gain:
    """How much more, or less, a change gains on top of another than it gained alone."""
    return Gain(
        mean=together.mean - alone.mean,
        se=math.hypot(together.se, alone.se),
        df=min(together.df, alone.df),
        n=min(together.n, alone.n),
    )


def reverted(changes: Sequence[Change], ours: Mapping[str, Knob], base: Mapping[str, Knob]) -> dict[str, Knob]:
    """The baseline's values of those constants that both files have and that differ."""
    names = [change.name for change in changes if change.before is None]
    return {name: base[name] for name in names if name in ours and name in base and ours[name] != base[name]}
