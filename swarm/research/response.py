"""What all designed waves around one incumbent say together: the main effects and interactions that are real. Pure.

Terms enter one at a time, the most certain first, for what one real term leaves unexplained hides another; then the
least certain leave, until all that stay are certain at a level shared among all that could have entered (Bonferroni).
An interaction needs one of its factors in the model already (weak effect heredity: Hamada & Wu, Journal of Quality
Technology 24, 1992). Intervals are ordinary least
squares' (statsmodels), with the measured noise floor pooled in.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr

from swarm.research.effects import (
    NOISE_DOF,
    Effect,
    Fit,
    Gain,
    Interaction,
    Run,
    code,
    completed,
    estimable,
    interactions,
    main_effects,
    trends,
)
from swarm.research.ladders import climbed
from swarm.research.waves import Contrast

_MOST = 8  # terms looked at together
_WORTH_A_LOOK = 0.1  # p up to which a term may enter for the time being
LEVEL = 0.05  # chance that any term enters where none is real

Term = tuple[int, ...]  # the factors of a main effect (one) or an interaction (two)


@dataclass(frozen=True, kw_only=True)
class Response:
    """A fitted model of the gain over coded factors."""

    effects: tuple[Effect, ...]  # real main effects, largest first
    interactions: tuple[Interaction, ...]  # real two-factor interactions, largest first

    def implicated(self) -> list[str]:
        """Factors that matter, those that interact first, then by the size of their effect."""
        pairs = [name for pair in self.interactions for name in (pair.a, pair.b)]
        return list(dict.fromkeys([*pairs, *(effect.factor for effect in self.effects)]))


def response(
    rows: Sequence[Run], gains: Sequence[Gain], noise: float | None, contrasts: Mapping[str, Contrast] | None = None
) -> Response:
    """Fit the runs of one or several waves that share their contrasts; empty where nothing is certain."""
    factors, matrix, y = completed(rows, gains)
    terms = _selected(matrix, y, noise)
    if not terms:
        return Response(effects=(), interactions=())
    fit = Fit(_columns(matrix, terms), y, noise)
    effects, pairs = [], []
    for place, term in enumerate(terms):
        told = fit.effect(place)
        if len(term) == 1:
            contrast = (contrasts or {}).get(factors[term[0]])
            low, high = (contrast.low, contrast.high) if contrast else (None, None)
            effects.append(Effect(factor=factors[term[0]], low=low, high=high, **told))
        else:
            pairs.append(Interaction(a=factors[term[0]], b=factors[term[1]], **told))
    return Response(
        effects=tuple(sorted(effects, key=lambda effect: -abs(effect.effect))),
        interactions=tuple(sorted(pairs, key=lambda pair: -abs(pair.effect))),
    )


def finding(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the analyst writes down of a wave, as JSON.

    ``report`` holds ``designed``, ``ladder`` (what kind of wave it is), ``noise`` (sd of one score, or None),
    ``baseline`` (constants of the wave's parent), ``runs`` (the wave's own for a designed wave or a ladder, else all of
    the session; each with ``knobs`` and ``gain``) and ``pooled`` (the runs of all designed waves on that baseline).
    """
    gains, noise = [run["gain"] for run in report["runs"]], report["noise"]
    configs = [run["knobs"] for run in report["runs"]]
    if report["ladder"]:
        return climbed(report["baseline"], report["runs"], noise)
    if not report["designed"]:
        found = [asdict(effect) for effect in trends(configs, gains, noise)]
        return {"effects": found, "interactions": [], "lost": [], "aliases": {}, "response": None}
    contrasts, rows = code(report["baseline"], configs)
    told = estimable(rows, gains)
    together, all_rows = code(report["baseline"], [run["knobs"] for run in report["pooled"]])
    model = response(all_rows, [run["gain"] for run in report["pooled"]], noise, together)
    return {
        "effects": [asdict(effect) for effect in main_effects(rows, gains, noise, contrasts)],
        "interactions": [asdict(pair) for pair in interactions(rows, gains, noise)],
        "lost": told.lost,
        "aliases": told.aliases,
        "response": {**asdict(model), "implicated": model.implicated(), "runs": len(report["pooled"])},
    }


def _selected(matrix: np.ndarray, y: np.ndarray, noise: float | None) -> list[Term]:
    chosen: list[Term] = []
    while len(chosen) < min(len(y) // 4, _MOST):
        open_ = _eligible(matrix.shape[1], chosen)
        p, term = min(((_p(matrix, y, noise, [*chosen, term])[-1], term) for term in open_), default=(1.0, ()))
        if p > _WORTH_A_LOOK:
            break
        chosen.append(term)
    while chosen:
        certain = _p(matrix, y, noise, chosen)
        worst = max(range(len(chosen)), key=lambda place: certain[place])
        if certain[worst] <= LEVEL / (len(_eligible(matrix.shape[1], chosen)) + 1):
            break
        del chosen[worst]
    return chosen


def _eligible(factors: int, chosen: Sequence[Term]) -> list[Term]:
    inside = {factor for term in chosen for factor in term}
    pairs = [pair for pair in itertools.combinations(range(factors), 2) if inside & set(pair)]
    return [term for term in [*((factor,) for factor in range(factors)), *pairs] if term not in chosen]


def _columns(matrix: np.ndarray, terms: Sequence[Term]) -> np.ndarray:
    return np.column_stack([matrix[:, list(term)].prod(axis=1) for term in terms])


def _p(matrix: np.ndarray, y: np.ndarray, noise: float | None, terms: Sequence[Term]) -> list[float]:
    """Two-sided p of each term in the model of all; 1 where the runs cannot tell them apart."""
    model = np.column_stack([np.ones(len(matrix)), _columns(matrix, terms)])
    left = len(y) - model.shape[1]
    gram = model.T @ model
    if left < 0 or np.linalg.matrix_rank(gram) < model.shape[1]:
        return [1.0] * len(terms)
    found = np.linalg.solve(gram, model.T @ y)
    squares = float(((y - model @ found) ** 2).sum()) + (NOISE_DOF * noise**2 if noise is not None else 0.0)
    dof = left + (NOISE_DOF if noise is not None else 0)
    if not dof:
        return [1.0] * len(terms)
    se = np.sqrt(squares / dof * np.diag(np.linalg.inv(gram)))[1:]
    t = np.abs(found[1:]) / np.maximum(se, 1e-300)
    return [float(p) for p in 2 * stdtr(dof, -t)]
