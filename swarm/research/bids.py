"""What a proposer's expectation is worth: its stated gain, as far as its record supports it. Pure."""

from dataclasses import dataclass, field

PRIOR = 4.0  # experiments that a proposer's word counts for before its record speaks
MOST = 2.0  # a proposer that promises too little is believed twice its word at most


@dataclass
class TrackRecord:
    """What one proposer promised and what screening showed, one experiment at a time."""

    _known: dict[str, tuple[float, float]] = field(default_factory=dict)  # experiment -> (stated, shown)
    _cross: float = 0.0  # sum of stated x shown
    _square: float = 0.0  # sum of stated x stated

    def add(self, experiment: str, stated: float | None, shown: float) -> None:
        """Take in what an experiment showed (a gain, positive is better); a later look replaces an earlier one."""
        self._count(experiment, -1.0)
        self._known[experiment] = (stated or 0.0, shown)
        self._count(experiment, 1.0)

    def settle(self, experiment: str) -> None:
        """Expect no later look at an experiment: what it showed stays."""
        self._known.pop(experiment, None)

    def supported(self, stated: float | None) -> float:
        """The gain to expect of a new proposal that promises ``stated``; nought where it promises nothing.

        A promise is multiplied by the slope of shown on stated gains through the origin, shrunk to one.
        """
        if stated is None:
            return 0.0
        weight = PRIOR * stated * stated
        if weight + self._square == 0.0:
            return 0.0
        slope = (weight + self._cross) / (weight + self._square)
        return stated * min(max(slope, 0.0), MOST)

    def _count(self, experiment: str, sign: float) -> None:
        stated, shown = self._known.get(experiment, (0.0, 0.0))
        self._cross += sign * stated * shown
        self._square += sign * stated * stated
