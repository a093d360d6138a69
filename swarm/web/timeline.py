"""The picture of slots over time: who held what, on which tier, with what outcome."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape

from swarm.leases.lease import SlotState
from swarm.research.experiment import Trial
from swarm.view import View
from swarm.web.drawing import Picture, Scale, line, rect, text
from swarm.wording import duration, short

LEGEND = (("bar screen", "screening"), ("bar validate", "validation"), ("bar lost", "no score"))
_BARS, _BLOCK = 200, 100  # newest trials that are elements of their own; older ones share paths, a block at a time
_SLOTS = 32  # rows
_WIDTH, _LEFT, _ROW = 720, 84, 16
_STRIDES = (60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 24 * 3600)  # seconds between two grid lines
RECENT_SECONDS = 3600.0  # what the overview shows


def timeline(view: View, slots: Sequence[SlotState], *, seconds: float | None) -> Picture:
    """The last ``seconds`` of every slot, or the whole session; the right edge moves on in steps."""
    trials = [trial for one in view.state.experiments.values() for trial in one.trials]
    newest = max((trial.ended_at or view.now for trial in trials), default=view.now)
    first = min((trial.started_at for trial in trials), default=newest - 60)
    span = min(newest - first, seconds) if seconds is not None else newest - first
    grid = next((stride for stride in _STRIDES if span / stride <= 9), _STRIDES[-1])
    high = grid * (newest // grid + 1)
    low = grid * ((high - span - grid) // grid) if seconds is None else high - max(seconds, span)
    across = Scale(low=max(low, first - grid), high=high, start=_LEFT, end=_WIDTH - 8)
    names = [state.slot.name for state in slots] or sorted({trial.slot for trial in trials})
    rows = {name: 6 + _ROW * number for number, name in enumerate(names[:_SLOTS])}
    shown = [trial for trial in trials if trial.slot in rows and (trial.ended_at or view.now) >= across.low]
    shown.sort(key=lambda trial: trial.started_at)
    cut = max(0, len(shown) - _BARS) // _BLOCK * _BLOCK
    height = 6 + _ROW * len(rows) + 20
    return Picture(
        name="timeline",
        label=f"{len(shown)} trials on {len(names)} slots over {duration(high - across.low)}; the table of leases "
        "tells what runs now",
        width=_WIDTH,
        height=height,
        frame=_frame(across, rows, grid, height),
        under=_merged(shown[:cut], across, rows, view.now),
        marks={f"t-{trial.id}": _bar(trial, across, rows, view) for trial in shown[cut:]},
        legend=LEGEND,
    )


def _frame(across: Scale, rows: Mapping[str, int], grid: float, height: int) -> str:
    parts = [text(_LEFT - 8, y + 10, name[:14], kind="tick", anchor="end") for name, y in rows.items()]
    at = grid * (across.low // grid + 1)
    while at <= across.high:
        told = datetime.fromtimestamp(at).astimezone().strftime("%H:%M")
        parts.append(line(across(at), 2, across(at), height - 18, "grid"))
        anchor = "end" if across(at) > _WIDTH - 20 else "middle"
        parts.append(text(across(at), height - 4, told, kind="tick", anchor=anchor))
        at += grid
    return "".join(parts)


def _bar(trial: Trial, across: Scale, rows: Mapping[str, int], view: View) -> str:
    ended = trial.ended_at or view.now
    score = "runs" if trial.outcome is None else str(trial.outcome)
    if trial.value is not None:
        score = f"{trial.value:.4f}"
    told = (
        f"{short(trial.experiment, view.state.session)} {trial.tier} seed {trial.seed} on {trial.slot}: "
        f"{score}, {duration(ended - trial.started_at)}"
    )
    x, width = across(trial.started_at), max(1.0, across(ended) - across(trial.started_at) - 0.6)
    more = f' id="t-{escape(trial.id)}" data-go="/e/{escape(trial.experiment)}"'
    return rect(x, rows[trial.slot], width, _ROW - 4, f"bar {_kind(trial)}", title=told, more=more)


def _merged(trials: Iterable[Trial], across: Scale, rows: Mapping[str, int], now: float) -> str:
    """Bars too many to be elements of their own: one path a kind, those that touch drawn as one."""
    spans: dict[tuple[str, int], list[list[int]]] = {}
    for trial in trials:
        start, end = round(across(trial.started_at)), round(across(trial.ended_at or now))
        row = spans.setdefault((_kind(trial), rows[trial.slot] + (_ROW - 4) // 2), [])
        if row and start - row[-1][1] <= 1:
            row[-1][1] = max(row[-1][1], end)
        else:
            row.append([start, max(end, start + 1)])
    paths: dict[str, str] = {}
    for (kind, y), row in spans.items():
        paths[kind] = paths.get(kind, "") + "".join(f"M{start} {y}H{end}" for start, end in row)
    return "".join(f'<path class="bars {kind}" d="{path}"/>' for kind, path in paths.items())


def _kind(trial: Trial) -> str:
    tier = "validate" if trial.tier == "validate" else "screen"
    if trial.ended_at is None:
        return f"{tier} running"
    return tier if trial.value is not None else "lost"
