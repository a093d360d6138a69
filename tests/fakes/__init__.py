"""Stand-ins for what is slow or far away. Each keeps its port's promises: the contract suites run on them too."""

from collections.abc import Mapping

from swarm.errors import SwarmError
from swarm.ports import GpuUse, TrialOrder
from trainer.contract import Outcome, TrialResult


class FakeClock:
    """Time that moves only when told to; whoever sleeps moves it."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.advance(max(0.0, seconds))

    def jump(self, seconds: float) -> None:
        """Set the clock on or back."""
        self._now += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        assert seconds >= 0
        self._now += seconds


class FakeGpus:
    """Gpus (see ports) that are used as told."""

    def __init__(self, uses: Mapping[int, GpuUse], *, silent: bool = False) -> None:
        """``uses`` by device; those not named are there and nobody's. ``silent``: the driver does not tell."""
        self.uses = dict(uses)
        self.silent = silent

    def use(self, device: int) -> GpuUse:
        if self.silent:
            raise SwarmError(f"the driver does not tell who uses GPU {device}")
        return self.uses.get(device, GpuUse())


def completed(order: TrialOrder, metric: float, *, holdout: float | None = None) -> TrialResult:
    """The result of a trial that went well."""
    return TrialResult(
        trial_id=order.trial_id, outcome=Outcome.COMPLETED, metric=metric, holdout=holdout, seed=order.seed
    )
