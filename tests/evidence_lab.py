"""Sessions of screenings and validations on noisy machines that drift, decided by the rules sessions use."""

import math
import random
from collections import Counter
from dataclasses import dataclass

from swarm.config import PromotionSettings
from swarm.observer import INCUMBENT_REFERENCES
from swarm.research.promotion import (
    NoiseFloor,
    Screening,
    Validation,
    allowance,
    gain_over,
    looks,
    paired_gain,
    screen,
    validate,
)

MACHINES = 16
OFFSET = 0.5  # sd of what a machine adds, of the noise sd: half of it is the machine's, for a while
DRIFT = 0.05  # share of a machine's offset that is new after each of its runs


@dataclass(frozen=True, kw_only=True)
class Story:
    """What one session is made of."""

    noise: float  # sd of one score, metric units
    share: float  # of the experiments that are true gains
    effect: float  # how large these are, in noise sd
    experiments: int = 1000


class Machines:
    """Slots of one accelerator type whose offsets wander, each for itself (Ornstein and Uhlenbeck's process)."""

    def __init__(self, chance: random.Random, noise: float) -> None:
        self._chance, self._noise = chance, noise
        self._offsets = [chance.gauss(0, OFFSET * noise) for _ in range(MACHINES)]

    def run(self, mean: float) -> float:
        """The score of one trial on some machine."""
        slot = self._chance.randrange(MACHINES)
        keep = 1 - DRIFT
        fresh = math.sqrt(1 - keep**2) * self._chance.gauss(0, OFFSET * self._noise)
        self._offsets[slot] = keep * self._offsets[slot] + fresh
        return mean + self._offsets[slot] + self._chance.gauss(0, self._noise * math.sqrt(1 - OFFSET**2))


def played(story: Story, seed: int, settings: PromotionSettings) -> Counter[str]:
    """One session: how many true gains and nulls there were, were promoted and confirmed, and what it took."""
    chance = random.Random(seed)
    machines = Machines(chance, story.noise)
    screens, validations = NoiseFloor(), NoiseFloor()
    count: Counter[str] = Counter()
    reached, name = 0.0, "baseline"  # what the incumbent has gained, and its name

    def runs(floor: NoiseFloor, who: str, gain: float, number: int) -> list[float]:
        found = [machines.run(-gain) for _ in range(number)]
        for value in found:
            floor.add(who, value)
        return found

    reference = runs(screens, name, 0.0, settings.replicates)
    validated = runs(validations, name, 0.0, settings.replicates)
    steps = looks(settings.min_pairs, settings.max_pairs)
    tests = 0
    confirmed: list[int] = []
    for number in range(story.experiments):
        true = chance.random() < story.share
        gain, kind, who = reached + true * story.effect * story.noise, "true" if true else "null", f"e{number}"
        count[kind] += 1
        tried: list[float] = []
        said = Screening.RETEST
        while said is Screening.RETEST:
            tried += runs(screens, who, gain, 1)
            assert screens.noise is not None
            said = screen(gain_over(tried, reference, screens.noise, minimize=True), looks=len(tried))
        count["screening runs"] += len(tried)
        if said is Screening.PRUNED:
            continue
        count[f"{kind} promoted"] += 1
        tests += 1
        ours: list[float] = []
        verdict = Validation.UNDECIDED
        for pairs in steps:
            more, others = pairs - len(ours), max(0, pairs - len(validated))
            ours += runs(validations, who, gain, more)
            validated += runs(validations, name, reached, others)
            count["validation runs"] += more + others
            assert validations.noise is not None
            measured = paired_gain(list(zip(ours, validated, strict=False)), validations.noise, minimize=True)
            level = allowance(tests, confirmed, settings.alpha)
            verdict = validate(measured, alpha=level, steps=steps)
            if verdict is not Validation.UNDECIDED:
                break
        if verdict is Validation.CONFIRMED:
            count[f"{kind} confirmed"] += 1
            confirmed.append(tests)
            reached, name, validated = gain, who, ours
            reference = runs(screens, name, reached, INCUMBENT_REFERENCES)
            count["screening runs"] += INCUMBENT_REFERENCES
    return count
