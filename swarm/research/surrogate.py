"""A Gaussian process over the search space: what a configuration not yet tried is expected to do. Pure.

Matern 5/2 with one length a factor (Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, chapters
2, 4, 5). Lengths and noise maximise the marginal likelihood under a prior by which most factors matter little, by
gradient, on some points: a fit takes a tenth of a second on one core and is remembered by what it was
made from, so that a proposal costs milliseconds.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FITTED = 160  # points the lengths are fitted to
_GROWTH = 1.25  # lengths are fitted anew when there are this many times more points
_SHORTEST, _LONGEST = 0.05, 30.0  # of a range; the last means: does not matter
_TYPICAL = (math.log(3.0), 1.5)  # log length a priori: mean and sd
_JITTER = 1e-8  # variance that keeps a covariance of equal points from being singular
_QUIET, _LOUD = 1e-6, 0.5  # variance of the noise, of the variance of the values


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What the points say about the process."""

    lengths: tuple[float, ...]  # one a factor, in units of its range
    noise: float  # variance, of the variance of the values


class GaussianProcess:
    """Values over points of the unit cube. ``believe`` adds a point at what is expected of it."""

    def __init__(
        self, points: "np.ndarray", values: "np.ndarray", *, groups: tuple[int, ...], fit: Fit, mean: float | None
    ) -> None:
        """``points``: n x features; ``groups``: the factor of each feature; ``mean``: where nothing is known (None:
        the values' own).
        """
        import numpy as np
        from scipy.linalg import cho_solve, cholesky

        self._mean = float(values.mean()) if mean is None else mean
        self._scale = float(np.sqrt(np.mean((values - self._mean) ** 2))) or 1.0
        self._lengths, self._noise = np.array(fit.lengths)[list(groups)], fit.noise
        self._x = points / self._lengths
        matrix = _kernel(self._x, self._x)
        matrix[np.diag_indices_from(matrix)] += self._noise + _JITTER
        self._root = cholesky(matrix, lower=True, check_finite=False)
        self._alpha = cho_solve((self._root, True), (values - self._mean) / self._scale, check_finite=False)

    def predict(self, points: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
        """Mean and standard deviation of the noiseless value at each point."""
        import numpy as np
        from scipy.linalg import solve_triangular

        cross = _kernel(points / self._lengths, self._x)
        half = solve_triangular(self._root, cross.T, lower=True, check_finite=False)
        variance = np.maximum(1.0 - (half**2).sum(axis=0), 1e-10)
        return self._mean + self._scale * (cross @ self._alpha), self._scale * np.sqrt(variance)

    def mean(self, points: "np.ndarray") -> "np.ndarray":
        """The mean alone, which is cheap."""
        import numpy as np

        cross = _kernel(points / self._lengths, self._x)
        return np.asarray(self._mean + self._scale * (cross @ self._alpha))

    def believe(self, points: "np.ndarray") -> None:
        """Take what is expected of points as measured (kriging believer: Ginsbourger et al., 2010).

        What is expected elsewhere stays as it is, so only the factor of the covariance grows, by as many rows.
        """
        import numpy as np
        from scipy.linalg import cholesky, solve_triangular

        near, known = points / self._lengths, len(self._x)
        half = solve_triangular(self._root, _kernel(self._x, near), lower=True, check_finite=False)
        own = _kernel(near, near) - half.T @ half
        own[np.diag_indices_from(own)] += self._noise + _JITTER
        grown = np.zeros((known + len(points),) * 2, order="F")
        grown[:known, :known] = self._root
        grown[known:, :known] = half.T
        grown[known:, known:] = cholesky(own, lower=True, check_finite=False)
        self._root, self._x = grown, np.vstack([self._x, near])
        self._alpha = np.append(self._alpha, np.zeros(len(points)))


class Surrogate:
    """A Gaussian process over points whose gains were measured; larger is better.

    Gains are seen through a logarithm that spreads the good ones and draws the bad ones together: how bad a bad
    run is says little about where the best lies.
    """

    def __init__(
        self,
        points: "np.ndarray",
        gains: "np.ndarray",
        groups: tuple[int, ...],
        *,
        fitted: int = FITTED,
        like: "tuple[np.ndarray, np.ndarray] | None" = None,
    ) -> None:
        """At least two observations; ``fitted``: how many the lengths are fitted to, of these, or of the points and
        gains ``like`` which they are.
        """
        some, theirs = like or (points, gains)
        chosen = _chosen(len(theirs), fitted)
        found = fit(some[chosen], _drawn_together(theirs[chosen])[0], groups)
        seen, self._top, self._spread = _drawn_together(gains)
        self._process = GaussianProcess(points, seen, groups=groups, fit=found, mean=None)
        self._best = float(self._process.mean(points).max())  # the best believed, not the luckiest

    def expected_improvement(self, points: "np.ndarray") -> "np.ndarray":
        """By how much each is expected to beat the best one believed in (Jones et al., 1998), in log units."""
        import numpy as np
        from scipy.special import ndtr

        mean, sd = self._process.predict(points)
        z = (mean - self._best) / sd
        return np.asarray(sd * (z * ndtr(z) + np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)))

    def mean(self, points: "np.ndarray") -> "np.ndarray":
        """Expected gains, metric units (the median: the logarithm is undone)."""
        return self._gain(self._process.mean(points))

    def cautious(self, points: "np.ndarray", sds: float) -> "np.ndarray":
        """Gains so many standard deviations under what is expected: the less is known there, the lower."""
        mean, sd = self._process.predict(points)
        return self._gain(mean - sds * sd)

    def _gain(self, seen: "np.ndarray") -> "np.ndarray":
        import numpy as np

        return np.asarray(self._top - self._spread * np.expm1(-seen))

    def believe(self, points: "np.ndarray") -> None:
        """Take the expected gains of points as measured."""
        self._process.believe(points)


class Feasibility:
    """How likely a point is to run at all, from those that did and those that did not.

    Least-squares classification with a Gaussian process (Rasmussen & Williams 2006, section 6.5): its labels are
    regressed on, and the probability is that of the regression being positive.
    """

    def __init__(
        self,
        points: "np.ndarray",
        ran: "np.ndarray",
        groups: tuple[int, ...],
        *,
        fitted: int = FITTED,
        kept: int | None = None,
        like: "tuple[np.ndarray, np.ndarray] | None" = None,
    ) -> None:
        """At least two points; ``kept``: how many it is told at most, the last ones, a third of them failures where
        there are so many. None: all. ``fitted`` and ``like`` as with a Surrogate.
        """
        import numpy as np

        labels = np.where(ran, 1.0, -1.0)
        some, theirs = (points, labels) if like is None else (like[0], np.where(like[1], 1.0, -1.0))
        chosen = _chosen(len(theirs), fitted)
        found = fit(some[chosen], theirs[chosen], groups)
        if kept is not None:
            failed = np.flatnonzero(~ran)[-(kept // 3) :]
            last = np.sort(np.append(failed, np.flatnonzero(ran)[-(kept - len(failed)) :]))
            points, labels = points[last], labels[last]
        self._process = GaussianProcess(points, labels, groups=groups, fit=found, mean=0.0)

    def probability(self, points: "np.ndarray") -> "np.ndarray":
        """Of each, between 0 and 1; one half where nothing like it was tried."""
        import numpy as np
        from scipy.special import ndtr

        mean, sd = self._process.predict(points)
        return np.asarray(ndtr(mean / np.sqrt(sd**2 + 0.01)))

    def runs(self, points: "np.ndarray") -> "np.ndarray":
        """Whether each is more likely to run than not: cheaper than ``probability``."""
        import numpy as np

        return np.asarray(self._process.mean(points) > 0)


def _chosen(count: int, most: int) -> list[int]:
    """Which of ``count`` points the lengths are fitted to: seldom others, at most ``most``, spread over all."""
    reached = 8.0
    while reached * _GROWTH <= count:
        reached *= _GROWTH
    last = min(int(reached), count)
    size = min(last, most)
    return [round(place * (last - 1) / (size - 1)) for place in range(size)]


def _kernel(a: "np.ndarray", b: "np.ndarray") -> "np.ndarray":
    import numpy as np
    from scipy.spatial.distance import cdist

    r = cdist(a, b)
    r *= math.sqrt(5)
    found = r * r
    found /= 3
    found += 1 + r
    found *= np.exp(-r)
    return np.asarray(found)


def _drawn_together(gains: "np.ndarray") -> "tuple[np.ndarray, float, float]":
    """Gains under the logarithm, the best of them, and the spread that it is measured in."""
    import numpy as np

    top = float(gains.max())
    spread = 0.5 * (top - float(np.median(gains))) or 1.0
    return -np.log1p((top - gains) / spread), top, spread


def fit(points: "np.ndarray", values: "np.ndarray", groups: tuple[int, ...]) -> Fit:
    """The most probable lengths and noise, given the points. Remembered."""
    import numpy as np

    spread = float(values.std()) or 1.0
    standard = np.ascontiguousarray((values - values.mean()) / spread)
    return _fitted(np.ascontiguousarray(points).tobytes(), standard.tobytes(), points.shape[1], groups)


@lru_cache(maxsize=256)
def _fitted(points: bytes, values: bytes, features: int, factors: tuple[int, ...]) -> Fit:
    import numpy as np
    from scipy.linalg import cho_solve, cholesky
    from scipy.optimize import minimize

    x, y = np.frombuffer(points).reshape(-1, features), np.frombuffer(values)
    owner = np.array(factors)
    count = owner.max() + 1

    def cost(theta: "np.ndarray") -> "tuple[float, np.ndarray]":
        scaled = x / np.exp(theta[:-1])[owner]
        squares = (scaled**2).sum(axis=1)
        r = np.sqrt(5 * np.maximum(squares[:, None] + squares[None, :] - 2 * scaled @ scaled.T, 0.0))
        decay = np.exp(-r)
        noise = math.exp(theta[-1])
        root = cholesky(
            (1 + r + r * r / 3) * decay + (noise + _JITTER) * np.eye(len(y)), lower=True, check_finite=False
        )
        alpha = cho_solve((root, True), y, check_finite=False)
        inner = np.outer(alpha, alpha) - cho_solve((root, True), np.eye(len(y)), check_finite=False)
        weight = inner * (5 / 3) * (1 + r) * decay
        slope = weight.sum(axis=1) @ scaled**2 - np.einsum("ij,ij->j", scaled, weight @ scaled)
        off = (theta[:-1] - _TYPICAL[0]) / _TYPICAL[1]
        value = 0.5 * y @ alpha + np.log(np.diag(root)).sum() + 0.5 * off @ off
        gradient = np.append(-np.bincount(owner, slope, count) + off / _TYPICAL[1], -0.5 * noise * np.trace(inner))
        return float(value), gradient

    start = np.append(np.full(count, math.log(1.0)), math.log(0.01))
    bounds = [(math.log(_SHORTEST), math.log(_LONGEST))] * count + [(math.log(_QUIET), math.log(_LOUD))]
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}).x
    return Fit(lengths=tuple(float(length) for length in np.exp(found[:-1])), noise=math.exp(found[-1]))
