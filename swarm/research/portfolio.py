"""How several proposers share the slots: by what their past proposals were worth per GPU-second. Pure.

Each proposer is an arm of a bandit. A proposal is a hit when its screening gain is among the best fifth of all that
were observed; an arm's hits per GPU-second have a Gamma posterior, one draw an arm is taken from it (Thompson
sampling, Biometrika 1933) and the slots are shared in proportion, after each arm got its floor. What crashed costs
its seconds and hits nothing.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HIT_SHARE = 0.2  # of all observations
FLOOR = 0.1  # of the slots, for each
WINDOW = 200  # observations looked back: a proposer may be good at first and exhausted later


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One experiment as the portfolio sees it."""

    author: str
    gain: float | None  # at screening, positive is better; None: no value
    seconds: float  # GPU-seconds it was charged


def worth(arms: Sequence[str], tried: Sequence[Tried]) -> dict[str, tuple[int, float]]:
    """Arm -> (hits, GPU-seconds), over the last observations."""
    seen = list(tried)[-WINDOW:]
    gains = sorted((one.gain for one in seen if one.gain is not None), reverse=True)
    bar = gains[max(0, round(HIT_SHARE * len(gains)) - 1)] if gains else None
    found = dict.fromkeys(arms, (0, 0.0))
    for one in seen:
        if one.author in found:
            hits, seconds = found[one.author]
            hit = bar is not None and one.gain is not None and one.gain >= bar
            found[one.author] = (hits + hit, seconds + one.seconds)
    return found


def shares(arms: Sequence[str], tried: Sequence[Tried], slots: int, seed: int) -> dict[str, int]:
    """Arm -> how many of ``slots`` proposals are its; they add up to ``slots``.

    Each arm has its floor: where that is less than one whole proposal, one by lot.
    """
    draw = random.Random(seed)
    typical = (sum(one.seconds for one in tried) / len(tried) or 1.0) if tried else 1.0
    rates = {
        arm: draw.gammavariate(1 + hits, 1 / (1 + seconds / typical))
        for arm, (hits, seconds) in worth(arms, tried).items()
    }
    total = sum(rates.values())
    free = 1 - FLOOR * len(arms) if FLOOR * len(arms) < 1 else 0.0
    wanted = {arm: slots * (max(FLOOR, (1 - free) / len(arms)) + free * rates[arm] / total) for arm in arms}
    return _whole(wanted, slots, draw)


def _whole(wanted: Mapping[str, float], slots: int, draw: random.Random) -> dict[str, int]:
    """Whole numbers near the wanted ones that add up; the remainders decide by lot."""
    given = {arm: int(value) for arm, value in wanted.items()}
    rest = [arm for arm in wanted if wanted[arm] > given[arm]]
    while sum(given.values()) < slots and wanted:
        among = rest or list(wanted)
        arm = draw.choices(among, [max(wanted[a] - given[a], 1e-9) for a in among])[0]
        given[arm] += 1
        rest = [a for a in rest if a != arm]
    return given
