"""A small Gaussian process over the search space: what a configuration not yet tried is expected to gain. Pure.

Matern 5/2 with one length a factor (Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, chapters
2, 4, 5), its lengths found by coordinate search on the marginal likelihood: a tenth of a second for a hundred
trials on one core, so that thinking never takes the processor from the trials.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from swarm.research.experiment import Knob
from swarm.research.space import is_ordered, position
from trainer.contract import Range

if TYPE_CHECKING:
    import numpy as np

_LENGTHS = (0.15, 0.3, 0.6, 1.2, 3.0, 10.0)  # of a range; the last means: does not matter
_NOISES = (1e-4, 1e-3, 1e-2, 0.05, 0.2)  # variance of the noise, of the variance of the gains
_SWEEPS = 3  # of the coordinate search
_PRIOR = 0.4  # nats a factor costs that is not long: most constants do little (a sparse prior)
_FLOOR = 2.0  # gains are cut this many times (best - median) below the median: how bad a bad run is says little


class Surrogate:
    """Fitted once to what was observed; ``believe`` adds trials under way at what is expected of them."""

    def __init__(
        self, ranges: Mapping[str, Range], configs: Sequence[Mapping[str, Knob]], gains: Sequence[float]
    ) -> None:
        """Raises ValueError for fewer than two observations."""
        import numpy as np

        if len(gains) < 2:
            raise ValueError("a surrogate needs at least two observations")
        self._ranges = ranges
        y = np.array(gains, dtype=float)
        middle = float(np.median(y))
        y = np.maximum(y, middle - _FLOOR * max(float(y.max()) - middle, 1e-12))
        self._mean, self._scale = float(y.mean()), float(y.std()) or 1.0
        self._x = np.array([position(config, self._ranges) for config in configs])
        self._y = (y - self._mean) / self._scale
        self._groups = self._factor_of_feature()
        self._lengths = np.full(len(ranges), 0.6 * math.sqrt(len(ranges)))
        self._noise = 1e-2
        self._fit()
        self._solve()

    def expected_improvement(self, configs: Sequence[Mapping[str, Knob]]) -> "np.ndarray":
        """By how much each is expected to beat the best one believed in, metric units (Jones et al., 1998)."""
        import numpy as np
        from scipy.stats import norm

        mean, sd = self._predict(np.array([position(config, self._ranges) for config in configs]))
        best = float(self._predict(self._x)[0].max())  # the best believed, not the luckiest measured
        z = (mean - best) / sd
        return np.asarray(self._scale * sd * (z * norm.cdf(z) + norm.pdf(z)))

    def mean(self, config: Mapping[str, Knob]) -> float:
        """Expected gain, metric units."""
        import numpy as np

        return self._mean + self._scale * float(self._predict(np.array([position(config, self._ranges)]))[0][0])

    def believe(self, config: Mapping[str, Knob]) -> None:
        """Take the expected gain of a configuration as measured (kriging believer: Ginsbourger et al., 2010)."""
        import numpy as np

        feature = np.array([position(config, self._ranges)])
        believed = self._predict(feature)[0]
        self._x, self._y = np.vstack([self._x, feature]), np.append(self._y, believed)
        self._solve()

    def _factor_of_feature(self) -> "np.ndarray":
        import numpy as np

        widths = [1 if is_ordered(within) else len(within.choices) for within in self._ranges.values()]
        return np.repeat(np.arange(len(widths)), widths)

    def _kernel(self, a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
        import numpy as np
        from scipy.spatial.distance import cdist

        lengths = self._lengths[self._groups]
        r = math.sqrt(5) * cdist(a / lengths, b / lengths)
        return np.asarray((1 + r + r * r / 3) * np.exp(-r))

    def _solve(self) -> float:
        """Factor the kernel matrix; gives the log posterior of the lengths and the noise."""
        import numpy as np
        from scipy.linalg import cho_factor, cho_solve

        matrix = self._kernel(self._x, self._x) + (self._noise + 1e-8) * np.eye(len(self._x))
        self._factor = cho_factor(matrix, lower=True)
        self._alpha = cho_solve(self._factor, self._y)
        likelihood = -0.5 * self._y @ self._alpha - np.log(np.diag(self._factor[0])).sum()
        return float(likelihood - _PRIOR * sum(math.log(_LENGTHS[-1] / length) for length in self._lengths))

    def _fit(self) -> None:
        best = self._solve()
        for _ in range(_SWEEPS):
            before = best
            for factor in range(len(self._lengths)):
                for length in _LENGTHS:
                    old, self._lengths[factor] = self._lengths[factor], length
                    score = self._solve()
                    best = max(best, score)
                    if score < best:
                        self._lengths[factor] = old
            for noise in _NOISES:
                old, self._noise = self._noise, noise
                score = self._solve()
                best = max(best, score)
                if score < best:
                    self._noise = old
            if best - before < 0.1:
                break

    def _predict(self, x: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
        """Mean and standard deviation, in standardised units."""
        import numpy as np
        from scipy.linalg import solve_triangular

        cross = self._kernel(x, self._x)
        half = solve_triangular(self._factor[0], cross.T, lower=True)
        variance = np.maximum(1.0 - (half**2).sum(axis=0), 1e-10)
        return cross @ self._alpha, np.sqrt(variance)
