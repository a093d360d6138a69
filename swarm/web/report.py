"""A session's report for people who were not there: one page that can be mailed, and pictures for those who write."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from notebook_store.entry import Entry, Kind
from notebook_store.errors import UnknownEntry
from notebook_store.notebook import Notebook
from swarm.research.experiment import Experiment, Status
from swarm.status import Json, holdout_of, noise_floors, standing_of
from swarm.view import View
from swarm.web.overview import TIERS
from swarm.web.pages import TEMPLATES, environment
from swarm.web.progress import progress
from swarm.web.tables import costs
from swarm.web.timeline import timeline

_STYLE = TEMPLATES.parent / "static" / "style.css"
_FAILED, _IDEAS, _INSIGHTS = 12, 8, 8  # told of each


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a report became."""

    page: Path  # .html or .md
    pictures: tuple[Path, ...]  # .png, beside it


def write_report(view: View, notebook: Notebook | None, folder: Path, form: str) -> Written:
    """Write the report of a session as ``form``, "html" or "md", and its pictures into ``folder``.

    The HTML page holds everything it shows. Raises OSError when it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = view.state.session
    pictures = tuple(filter(None, (_png(view, tier, folder / f"{name}-{tier}.png") for tier in TIERS)))
    facts = gathered(view, notebook) | {"pngs": [picture.name for picture in pictures]}
    page = folder / f"{name}-report.{form}"
    text = environment().get_template(f"report.{form}").render(facts)
    page.write_text(text, encoding="utf-8")
    return Written(page=page, pictures=pictures)


def gathered(view: View, notebook: Notebook | None) -> dict[str, Any]:
    """Everything a report tells: what was gained, how sure, why, at what cost, what failed, what comes next."""
    state, status = view.state, view.status()
    drawn = [progress(view, tier, "time") for tier in TIERS]
    if state.experiments:
        drawn.append(timeline(view, view.slots(), seconds=None))
    return {
        "view": view,
        "session": state.session,
        "metric": view.metric,
        "status": status,
        "best": state.incumbent if state.incumbents else None,
        "gains": [_gain(view, notebook, state.experiments[name]) for name in state.incumbents[1:]],
        "noise": noise_floors(state),
        "costs": costs(view),
        "failed": state.of_status(Status.REFUTED, Status.CRASHED)[::-1][:_FAILED],
        "failures": state.count(Status.REFUTED, Status.CRASHED),
        "ideas": _ideas(view),
        "insights": notebook.entries(limit=_INSIGHTS, session=state.session, kinds=[Kind.INSIGHT]) if notebook else [],
        "pictures": [picture for picture in drawn if picture is not None],
        "style": Markup(_STYLE.read_text(encoding="utf-8")),  # noqa: S704 - our own sheet
    }


def _gain(view: View, notebook: Notebook | None, one: Experiment) -> Json:
    """A kept gain with its numbers and the entries that led to it."""
    reasons: list[Entry] = []
    for cited in one.citations if notebook else ():
        try:
            reasons.append(notebook.get(cited))  # type: ignore[union-attr]  # there is one where there are citations
        except UnknownEntry:
            continue
    return {
        "one": one,
        "standing": standing_of(view.state, one, minimize=view.minimize),
        "holdout": holdout_of(view.state, one, minimize=view.minimize),
        "at": view.hours_at(view.state.confirmed_at[one.id]),
        "reasons": reasons,
    }


def _ideas(view: View) -> list[Experiment]:
    """What looked good and was not validated, the best first; then what waits to be screened."""
    promoted = [one for one in view.state.of_status(Status.PROMOTED) if isinstance(one.verdict.get("gain"), float)]
    promoted.sort(key=lambda one: -float(one.verdict["gain"]))
    return [*promoted, *view.state.of_status(Status.APPROVED, Status.HELD)][:_IDEAS]


def _png(view: View, tier: str, path: Path) -> Path | None:
    """The progress on one tier as a PNG; None where it has no score."""
    from matplotlib.figure import Figure  # heavy, and only here

    accelerators = view.state.accelerators(tier)
    if not accelerators:
        return None
    points: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for one in view.state.experiments.values():
        for trial in one.completed(tier, accelerators[0]):
            if trial.value is not None and trial.ended_at is not None:
                points[one.status is Status.CONFIRMED].append((view.hours_at(trial.ended_at), trial.value))
    figure = Figure(figsize=(8, 4), dpi=120, layout="constrained")
    axes = figure.subplots()
    for kept, colour, word in ((False, "0.6", "other trials"), (True, "tab:green", "confirmed")):
        if points[kept]:
            x, y = zip(*points[kept], strict=True)
            axes.scatter(x, y, s=14, color=colour, label=word)
    axes.set_xlabel("hours worked")
    axes.set_ylabel(f"{view.metric} on tier {tier}, {'lower' if view.minimize else 'higher'} is better")
    axes.set_title(view.state.session)
    axes.legend()
    figure.savefig(path)
    return path
