"""All that is on record of an experiment, for whoever shows it: the terminal, the pages, coding agents."""

import re
from collections.abc import Mapping
from dataclasses import asdict

from swarm.errors import InputError
from swarm.home import Home
from swarm.research.experiment import Experiment, Trial
from swarm.research.lineage import Lineage
from swarm.status import Json
from swarm.view import View
from trainer.contract import find_task

TRIAL_FIELDS = ("id", "tier", "slot", "accelerator", "seed", "outcome", "value")


def view_of(place: Home, name: str) -> View:
    """The session that an experiment's id names, or the newest. Raises InputError."""
    match = re.fullmatch(r"(.+)-e\d+", name)
    return View(place, match.group(1) if match else None)


def find(view: View, name: str) -> Experiment:
    """The experiment of this id, or of the id without its session. Raises InputError."""
    found = [one for one in view.state.experiments.values() if one.id == name or one.id.endswith(f"-{name}")]
    if len(found) != 1:
        raise InputError(f"no experiment '{name}' in session {view.state.session}; `swarm experiments` lists them")
    return found[0]


def dossier(place: Home, view: View, one: Experiment) -> Json:
    """The fields of `swarm experiment ID --json`: one experiment and all that happened to it."""
    parent = next((e.id for e in view.state.experiments.values() if e.candidate == one.parent), one.parent)
    return summary(one) | {
        "session": view.state.session,
        "wave": one.wave,
        "changes": dict(one.changes),
        "expected_gain": one.expected_gain,
        "created_at": one.created_at,
        "parent_experiment": parent,
        "candidate": one.candidate,
        "diff": "" if one.parent is None else lineage_of(place, view).diff(one.parent, one.candidate),
        "influence": _influence(view, one),
        "citations": [{"id": cited, "title": view.title(cited)} for cited in one.citations],
        "reasons": list(one.reasons),
        "verdict": dict(one.verdict),
        "history": [
            {"at": event.at, "kind": event.kind, "key": event.key, "data": _open(event.data, over=view.state.ended)}
            for event in view.history(one.id)
        ],
    }


def _open(data: Mapping[str, object], *, over: str | None) -> Json:
    """What an event told, without the hidden shard's score before the session is over: agents read it too."""
    return {name: value for name, value in data.items() if name != "holdout" or over is not None}


def _influence(view: View, one: Experiment) -> Json:
    graph = view.influence(one.id)
    return {
        "nodes": [asdict(node) for node in graph.nodes.values()],
        "edges": [{"from": earlier, "to": later} for earlier, later in graph.edges],
    }


def summary(one: Experiment) -> Json:
    """The fields of one row of `swarm experiments --json`."""
    return {
        "id": one.id,
        "status": one.status,
        "author": one.author,
        "hypothesis": one.hypothesis,
        "parent": one.parent,
        "trials": [trial_row(trial) for trial in one.trials],
    }


def trial_row(trial: Trial) -> Json:
    """A trial as listings show it."""
    return {name: getattr(trial, name) for name in TRIAL_FIELDS}


def lineage_of(place: Home, view: View) -> Lineage:
    """The repository of a session's candidates. Raises TaskError when the task's folder is gone."""
    editable = find_task(view.state.opened["task_folder"]).editable
    return Lineage(place.session(view.state.session) / "repo.git", editable)


def told(event: Json) -> list[str]:
    """One event of a dossier's history, in words: what happened, then the reasons."""
    data = event["data"]
    match event["kind"]:
        case "proposed":
            return ["proposed"]
        case "moved":
            numbers = ", ".join(
                f"{name} {number(value)}" for name, value in (data["verdict"] or {}).items() if name != "tier"
            )
            return [_MOVES[data["move"]], *data["reasons"], *([numbers] if numbers else [])]
        case "reviewed":
            sampled = ", and runs as a sample all the same" if data["sampled"] else ""
            return [f"judged by a reviewer that thinks: {data['verdict']}{sampled}"]
        case "trial-started":
            return [f"trial {event['key']} started on {data['slot']}"]
        case _:
            value = "no score" if data["value"] is None else f"{data['value']:.4f}"
            return [f"trial {event['key']} ended: {data['outcome']}, {value} {data['message']}"]


_MOVES = {
    "hold": "waits for a person's yes",
    "approve": "approved",
    "reject": "rejected",
    "screen": "screening begins",
    "retest": "undecided: screened again",
    "prune": "pruned",
    "promote": "promoted",
    "keep": "still looks better than the new incumbent",
    "validate": "validation begins",
    "confirm": "confirmed",
    "refute": "refuted",
    "crash": "crashed",
    "stack": "confirmed against the incumbent of before: validated against the new one",
    "rebase": "put on top of the new incumbent",
    "withdraw": "withdrawn",
}


def number(value: object) -> str:
    """A figure of a verdict in words."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(number(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number(item)}" for name, item in value.items())
    return str(value)
