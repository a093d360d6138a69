"""A made-up landscape to simulate on where there is no file of trials: eight constants, known best, edges that fail."""

import math
import random
from collections.abc import Mapping

from swarm.bench.race import Measured, Measurement
from swarm.research.experiment import Knob
from swarm.research.space import to_unit
from trainer.contract import Range

NOISE = 0.0006  # sd of one score, as of the default configuration in published trials of a 5-minute budget
_BEST = 0.974  # the score at the best point
_FAILED_SECONDS = 40.0  # a configuration that fails does so early


class Valley:
    """A curved valley: each constant has its best place, two pairs interact, too large a model does not fit."""

    metric = "val_bpb"
    ranges: Mapping[str, Range] = {
        "DEPTH": Range(low=4, high=16, integer=True),
        "WIDTH": Range(low=256, high=1024, integer=True),
        "MATRIX_LR": Range(low=0.005, high=0.2, log=True),
        "EMBEDDING_LR": Range(low=0.05, high=2.0, log=True),
        "WEIGHT_DECAY": Range(low=0.0, high=0.5),
        "WARMDOWN_RATIO": Range(low=0.1, high=0.8),
        "BETA2": Range(low=0.9, high=0.99),
        "BATCH": Range(low=32, high=256, integer=True),
    }
    start: Mapping[str, Knob] = {
        "DEPTH": 8,
        "WIDTH": 512,
        "MATRIX_LR": 0.04,
        "EMBEDDING_LR": 0.6,
        "WEIGHT_DECAY": 0.2,
        "WARMDOWN_RATIO": 0.5,
        "BETA2": 0.95,
        "BATCH": 128,
    }
    _best: Mapping[str, float] = {
        "DEPTH": 0.45,
        "WIDTH": 0.62,
        "MATRIX_LR": 0.42,
        "EMBEDDING_LR": 0.50,
        "WEIGHT_DECAY": 0.15,
        "WARMDOWN_RATIO": 0.85,
        "BETA2": 0.85,
        "BATCH": 0.12,
    }  # in units of the ranges

    def measure(self, wanted: Measurement) -> Measured:
        """One trial: the same configuration and seed always give the same score."""
        config = wanted.config
        at = {name: to_unit(config[name], within) for name, within in self.ranges.items()}
        if at["DEPTH"] + at["WIDTH"] + at["BATCH"] > 1.9:
            return Measured(value=None, seconds=_FAILED_SECONDS)
        away = {name: at[name] - best for name, best in self._best.items()}
        bowl = sum(0.03 * (1 - math.exp(-4 * step * step)) for step in away.values())
        bends = 0.02 * away["DEPTH"] * away["WIDTH"] + 0.02 * away["MATRIX_LR"] * away["BATCH"]
        told = ",".join(f"{name}={config[name]!r}" for name in self.ranges)
        noise = random.Random(f"{told}/{wanted.seed}").gauss(0.0, NOISE)
        return Measured(value=_BEST + bowl + bends + noise, seconds=math.inf)
