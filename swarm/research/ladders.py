"""What a ladder says: one factor at several values, and where it is best. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from swarm.research.effects import NOISE_DOF, Effect, Gain, scale
from swarm.research.experiment import Knob


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One value of the factor."""

    value: Knob
    gain: Gain  # as measured; None: the run failed
    expected: float  # gain by the fitted parabola, metric units


def climbed(baseline: Mapping[str, Knob], runs: Sequence[Mapping[str, Any]], noise: float | None) -> dict[str, Any]:
    """What is written down of a ladder: the step to its best rung as an effect, and every rung.

    A parabola is fitted by least squares over the values on the scale of ``effects.trends``; the effect is the
    difference on it between the best rung and the incumbent's value, its standard error that of the contrast, with the
    noise floor pooled in. The best of several rungs is picked for being best: it is a hint for the next experiments,
    which are judged on their own.
    """
    factor = next((name for name in baseline if len({run["knobs"][name] for run in runs}) > 1), None)
    done = [run for run in runs if run["gain"] is not None]
    if factor is None or len(done) < 4:
        return {"effects": [], "interactions": [], "lost": [], "aliases": {}, "response": None}
    values = [run["knobs"][factor] for run in runs]
    told = scale(values)
    assert told is not None
    at = dict(zip(values, told[2], strict=True))
    matrix = _parabola([at[run["knobs"][factor]] for run in done])
    gains = np.array([run["gain"] for run in done])
    found, *_ = np.linalg.lstsq(matrix, gains)
    expected = {value: float(_parabola([place])[0] @ found) for value, place in at.items()}
    ran = [run["knobs"][factor] for run in done]
    best = max(ran, key=lambda value: expected[value])
    here = baseline[factor]
    step = (_parabola([at[best]]) - _parabola([at[here]]))[0]
    effect = Effect(factor=factor, low=here, high=best, **_told(step, matrix, gains, found, noise))
    rungs = [
        Rung(value=run["knobs"][factor], gain=run["gain"], expected=expected[run["knobs"][factor]]) for run in runs
    ]
    rungs.sort(key=lambda rung: at[rung.value])
    moved = [asdict(effect)] if best != here else []
    ladder = {"factor": factor, "rungs": [asdict(rung) for rung in rungs]}
    return {"effects": moved, "interactions": [], "lost": [], "aliases": {}, "response": None, "ladder": ladder}


def _parabola(places: Sequence[float]) -> np.ndarray:
    x = np.array(places)
    return np.column_stack([np.ones(len(x)), x, x * x])


def _told(
    step: np.ndarray, matrix: np.ndarray, gains: np.ndarray, found: np.ndarray, noise: float | None
) -> dict[str, Any]:
    """effect, se, ci and p of a contrast."""
    spare = len(gains) - matrix.shape[1]
    dof = spare + (NOISE_DOF if noise is not None else 0)
    squares = float(((gains - matrix @ found) ** 2).sum()) + (NOISE_DOF * noise**2 if noise is not None else 0.0)
    effect = float(step @ found)
    se = float(np.sqrt(squares / dof * (step @ np.linalg.pinv(matrix.T @ matrix) @ step)))
    reach = float(stdtrit(dof, 0.975)) * se
    p = float(2 * stdtr(dof, -abs(effect) / se)) if se > 0 else float(effect == 0)
    return {"effect": effect, "se": se, "ci": (effect - reach, effect + reach), "p": p}
