"""What an accelerator costs where nobody said it: as SkyPilot's catalogue of clouds has it."""

from collections.abc import Callable, Sequence
from textwrap import shorten

from swarm.config import PoolSettings
from swarm.executors.sky.cloud import Cloud, CloudError

OWNED = {"kubernetes", "k8s", "slurm", "ssh"}  # infrastructure that nobody sends a bill for, as far as SkyPilot knows


def priced(cloud: Cloud, pools: Sequence[PoolSettings], say: Callable[[str], None]) -> list[PoolSettings]:
    """The pools, each with a price; one whose price is not to be found counts as free, and that is said. Blocks."""
    return [pool if pool.price_per_hour is not None else _looked_up(cloud, pool, say) for pool in pools]


def _looked_up(cloud: Cloud, pool: PoolSettings, say: Callable[[str], None]) -> PoolSettings:
    price, why = None, "SkyPilot's catalogue has no price for it"
    if (pool.infra or "").partition("/")[0] in OWNED:
        why = "it is no cloud's"
    else:
        try:
            price = cloud.price(pool.kind, pool.each, infra=pool.infra, spot=pool.spot)
        except CloudError as error:
            why = f"SkyPilot's catalogue cannot be read ({shorten(str(error), 100)})"
    where = f"{pool.kind} on {pool.infra or 'any infrastructure'}"
    if price is None:
        say(f"{where} counts as free: {why}; dollars need a price_per_hour in its [[pool]]")
    else:
        say(f"{where} counts as ${price:.2f} an hour, as in SkyPilot's catalogue")
    return pool.model_copy(update={"price_per_hour": price or 0.0})
