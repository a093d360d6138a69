"""What a person says of experiments that wait for a yes. It travels as a wish in the ledger. Pure."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from swarm.errors import InputError
from swarm.research.experiment import Experiment, Status
from swarm.research.state import SessionState

_WORD = "ruling "  # what the wish begins with


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """One person's yes or no to one experiment."""

    experiment: str  # id
    yes: bool
    by: str  # who says so
    reason: str = ""  # in their words

    @property
    def told(self) -> str:
        """The ruling as a reason in the record."""
        said = f"{'approved' if self.yes else 'rejected'} by {self.by}"
        return f"{said}: {self.reason}" if self.reason else said

    @property
    def wish(self) -> str:
        """What is left in the ledger for the process that works on the session."""
        return _WORD + json.dumps(asdict(self))


def read_ruling(wish: str) -> Ruling | None:
    """The ruling in a wish; None where it is another kind of wish."""
    return Ruling(**json.loads(wish.removeprefix(_WORD))) if wish.startswith(_WORD) else None


def held(state: SessionState, names: Sequence[str]) -> list[Experiment]:
    """The HELD experiments of these names (``e012`` will do); all of them for no name.

    Raises InputError for a name that is none, and for an experiment that does not wait for a person.
    """
    waiting = state.of_status(Status.HELD)
    if not names:
        if not waiting:
            raise InputError(
                f"nothing in session {state.session} waits for your yes; `swarm start --approve` holds proposals for it"
            )
        return waiting
    found = []
    for name in names:
        known = [
            one for one in state.experiments.values() if name in (one.id, one.id.removeprefix(f"{state.session}-"))
        ]
        if not known:
            raise InputError(f"no experiment '{name}' in session {state.session}; `swarm experiments` lists them")
        if known[0].status is not Status.HELD:
            shown = ", ".join(one.id for one in waiting[:5]) or "none does"
            raise InputError(f"{known[0].id} is {known[0].status} and waits for nobody; waiting: {shown}")
        found.append(known[0])
    return found
