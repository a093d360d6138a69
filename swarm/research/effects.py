"""What a finished wave says: main effects, interactions and trends, each with its interval. Pure.

An *effect* is the mean gain at the other level minus the mean gain at the incumbent's, all else averaged out; it
is twice the coefficient of ordinary least squares on the columns coded -1 and +1 (Box, Hunter & Hunter,
Statistics for Experimenters, 2005, chapters 5-7).
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarm.research.experiment import Knob
from swarm.research.waves import Contrast

if TYPE_CHECKING:
    import numpy as np

NOISE_DOF = 3  # degrees of freedom of a noise floor measured from four replicates

Run = Mapping[str, float]  # coded level of every factor of one run, -1 to 1
Gain = float | None  # metric units, positive is better; None for a run without a value


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What moving one factor from -1 to +1 does to the gain."""

    factor: str
    low: Knob | None  # value coded -1; None where the caller gave no levels
    high: Knob | None  # value coded +1
    effect: float  # metric units, positive is better
    se: float | None  # standard error; None where neither a noise floor nor spare runs tell it
    ci: tuple[float, float] | None  # 95% interval
    p: float | None  # two-sided, of no effect


@dataclass(frozen=True, kw_only=True)
class Interaction:
    """How the effect of one factor changes with another: half the difference of its effects at their levels."""

    a: str
    b: str
    effect: float  # metric units
    se: float | None
    ci: tuple[float, float] | None  # 95% interval
    p: float | None  # two-sided, of no interaction; not corrected for how many pairs were tried


@dataclass(frozen=True, kw_only=True)
class Estimable:
    """What a set of completed runs can tell apart."""

    factors: tuple[str, ...]  # main effects that have an estimate
    lost: tuple[str, ...]  # main effects without one: too few runs are left, so they are taken as nought
    aliases: Mapping[str, tuple[str, ...]]  # factor -> two-factor interactions that leak into its estimate


def code(
    baseline: Mapping[str, Knob], configurations: Sequence[Mapping[str, Knob]]
) -> tuple[dict[str, Contrast], list[Run]]:
    """The two-level factors among some configurations (those with one value besides the baseline's), coded.

    A factor with more than two values is no contrast and is left out: see ``trends``.
    """
    contrasts = {}
    for factor, low in baseline.items():
        others = {c[factor] for c in configurations if factor in c} - {low}
        if len(others) == 1:
            contrasts[factor] = Contrast(factor=factor, low=low, high=others.pop())
    rows: list[Run] = [
        {f: 1 if c.get(f) == found.high else -1 for f, found in contrasts.items()} for c in configurations
    ]
    return contrasts, rows


def estimable(rows: Sequence[Run], gains: Sequence[Gain]) -> Estimable:
    """Which main effects the completed runs determine, and which pairs of factors leak into each."""
    import numpy as np

    factors, matrix, y = completed(rows, gains)
    columns = _columns(matrix, y)
    kept = [factors[column] for column in columns]
    leaks: dict[str, list[str]] = {factor: [] for factor in kept}
    inverse = np.linalg.pinv(_with_mean(matrix[:, columns]))
    for i, j in itertools.combinations(range(len(factors)) if kept else (), 2):
        bias = inverse @ (matrix[:, i] * matrix[:, j])
        for factor, amount in zip(kept, bias[1:], strict=True):
            if abs(amount) > 0.05:
                leaks[factor].append(f"{factors[i]} x {factors[j]}")
    lost = tuple(factor for factor in factors if factor not in kept)
    return Estimable(factors=tuple(kept), lost=lost, aliases={f: tuple(pairs) for f, pairs in leaks.items()})


def main_effects(
    rows: Sequence[Run],
    gains: Sequence[Gain],
    noise: float | None,
    contrasts: Mapping[str, Contrast] | None = None,
) -> list[Effect]:
    """Main effects by ordinary least squares, largest first.

    Where crashes leave fewer runs than unknowns, the strongest factors are chosen one by one, at most one for two
    runs, and the others taken as nought (effect sparsity: Box & Meyer, Technometrics 28, 1986): these are left out.
    ``noise`` is the standard deviation of one gain, taken as measured with NOISE_DOF degrees of freedom and
    pooled with the residuals where runs are to spare; intervals are Student's t.
    """
    factors, matrix, y = completed(rows, gains)
    columns = _columns(matrix, y)
    fit = Fit(matrix[:, columns], y, noise) if columns else None
    found = []
    for place, column in enumerate(columns):
        contrast = (contrasts or {}).get(factors[column])
        low, high = (contrast.low, contrast.high) if contrast else (None, None)
        assert fit is not None
        found.append(Effect(factor=factors[column], low=low, high=high, **fit.effect(place)))
    return sorted(found, key=lambda effect: -abs(effect.effect))


def interactions(
    rows: Sequence[Run], gains: Sequence[Gain], noise: float | None, *, among: int = 4
) -> list[Interaction]:
    """Two-factor interactions of the ``among`` strongest factors, most certain first.

    Each pair is added alone to a model of the strong main effects, because a screening design cannot hold all
    pairs at once (effect heredity: Hamada & Wu, Journal of Quality Technology 24, 1992). A pair may stand for
    another one it is aliased with; the interval does not know that.
    """
    import numpy as np

    factors, matrix, y = completed(rows, gains)
    strong = [effect.factor for effect in main_effects(rows, gains, noise)[:among]]
    columns = [factors.index(factor) for factor in strong]
    found = []
    for a, b in itertools.combinations(columns, 2):
        model = np.column_stack([matrix[:, columns], matrix[:, a] * matrix[:, b]])
        if _full_rank(model):
            fit = Fit(model, y, noise)
            found.append(Interaction(a=factors[a], b=factors[b], **fit.effect(len(columns))))
    return sorted(found, key=lambda pair: (1.0 if pair.p is None else pair.p, -abs(pair.effect)))


def trends(configurations: Sequence[Mapping[str, Knob]], gains: Sequence[Gain], noise: float | None) -> list[Effect]:
    """Linear trends over runs that share no design: the effect of moving a number from its lowest tried value
    to its highest, on a log scale where the tried values span more than threefold; texts and bools as levels.

    A trend is what the runs together suggest, not what a contrast showed: a sampler prefers where it is good.
    """
    first = configurations[0] if configurations else {}
    contrasts: dict[str, Contrast] = {}
    rows: list[dict[str, float]] = [{} for _ in configurations]
    for factor in first:
        values = [c.get(factor, first[factor]) for c in configurations]
        found = scale(values)
        if found is not None:
            low, high, coded = found
            contrasts[factor] = Contrast(factor=factor, low=low, high=high)
            for row, value in zip(rows, coded, strict=True):
                row[factor] = value
    return main_effects(rows, gains, noise, contrasts)


def scale(values: Sequence[Knob]) -> tuple[Knob, Knob, list[float]] | None:
    """Lowest and highest of the values and all of them coded on [-1, 1]; None where there is no such scale."""
    distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    if len(distinct) < 2:
        return None
    low, high = distinct[0], distinct[-1]
    if isinstance(values[0], str | bool) and values[0] == high:
        low, high = high, low  # what has no order is told from the first on
    if len(distinct) == 2:
        return low, high, [1.0 if value == high else -1.0 for value in values]
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        return None
    if min(numbers) > 0 and max(numbers) > 3 * min(numbers):
        numbers = [math.log(number) for number in numbers]
    bottom, top = min(numbers), max(numbers)
    return low, high, [2 * (number - bottom) / (top - bottom) - 1 for number in numbers]


def completed(rows: Sequence[Run], gains: Sequence[Gain]) -> tuple[list[str], "np.ndarray", "np.ndarray"]:
    """Factor names, coded matrix and gains of the runs that have a value."""
    import numpy as np

    factors = list(rows[0]) if rows else []
    done = [(row, gain) for row, gain in zip(rows, gains, strict=True) if gain is not None]
    matrix = np.array([[row[factor] for factor in factors] for row, _ in done], dtype=float)
    return factors, matrix.reshape(len(done), len(factors)), np.array([gain for _, gain in done])


def _with_mean(matrix: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return np.column_stack([np.ones(len(matrix)), matrix])


def _full_rank(matrix: "np.ndarray") -> bool:
    import numpy as np

    return bool(np.linalg.matrix_rank(_with_mean(matrix)) == matrix.shape[1] + 1)


def _columns(matrix: "np.ndarray", y: "np.ndarray") -> list[int]:
    """The columns whose effects the runs can tell: all, or the strongest where the runs are too few for all."""
    import numpy as np

    if not len(y) or _full_rank(matrix):
        return list(range(matrix.shape[1])) if len(y) else []
    chosen: list[int] = []
    while len(chosen) < len(y) // 2:
        left: dict[int, float] = {}
        for column in range(matrix.shape[1]):
            model = matrix[:, [*chosen, column]]
            if column not in chosen and _full_rank(model):
                full = _with_mean(model)
                left[column] = float(np.sum((y - full @ np.linalg.lstsq(full, y)[0]) ** 2))
        if not left:
            break
        chosen.append(min(left, key=lambda column: left[column]))
    return sorted(chosen)


class Fit:
    """One least-squares fit whose error variance pools the noise floor with the residuals."""

    def __init__(self, matrix: "np.ndarray", y: "np.ndarray", noise: float | None) -> None:
        from statsmodels.regression.linear_model import OLS

        self.result = OLS(y, _with_mean(matrix)).fit()
        spare = max(int(self.result.df_resid), 0)
        floor_dof = NOISE_DOF if noise is not None else 0
        self.dof = spare + floor_dof
        squares = (self.result.ssr if spare else 0.0) + floor_dof * (noise or 0.0) ** 2
        self.variance = squares / self.dof if self.dof else None

    def effect(self, column: int) -> dict[str, Any]:
        """effect, se, ci and p of a coded column: twice its coefficient."""
        from scipy.stats import t

        column += 1  # after the mean
        effect = 2 * float(self.result.params[column])
        if self.variance is None:
            return {"effect": effect, "se": None, "ci": None, "p": None}
        se = 2 * math.sqrt(self.variance * float(self.result.normalized_cov_params[column, column]))
        reach = float(t.ppf(0.975, self.dof)) * se
        p = float(2 * t.sf(abs(effect) / se, self.dof)) if se > 0 else float(effect == 0)
        return {"effect": effect, "se": se, "ci": (effect - reach, effect + reach), "p": p}
