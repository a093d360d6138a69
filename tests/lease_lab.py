"""What the tests of leases share: slots, tiers, and short ways to ask and to serve."""

from swarm.leases.lease import Lease, Tier
from swarm.leases.manager import LeaseManager
from swarm.ports import Slot
from tests.fakes import FakeClock

SCREEN, VALIDATE = Tier(name="screen"), Tier(name="validate", priority=10)


def cores(count: int) -> list[Slot]:
    """Slots cpu-0, cpu-1, ... at a tenth of a cent a second."""
    return [Slot(name=f"cpu-{number}", accelerator="cpu", price_per_hour=3.6) for number in range(count)]


def ask(
    manager: LeaseManager,
    name: str,
    *,
    tier: str = "screen",
    holder: str = "a",
    bid: float = 0.0,
    accelerator: str | None = None,
) -> None:
    """Queue a request of session "s"."""
    assert manager.request(name, tier=tier, session="s", holder=holder, bid=bid, accelerator=accelerator) is None


def granted(leases: list[Lease]) -> list[str]:
    """The requests they were granted to."""
    return [lease.request_id for lease in leases]


def serve(manager: LeaseManager, count: int, clock: FakeClock, seconds: float = 10.0) -> list[Lease]:
    """Grant and release one after another on the manager's one slot."""
    served = []
    for _ in range(count):
        (lease,) = manager.grant()
        served.append(lease)
        clock.advance(seconds)
        manager.heartbeat([lease.token])
        manager.release(lease.token)
    return served
