"""best, experiments, experiment: what was tried and what was found."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import HOME, AsJson, InHome, SessionName
from swarm.cli.output import clock_time, print_diff, print_json, print_table

if TYPE_CHECKING:
    from swarm.home import Home
    from swarm.research.experiment import Experiment, Trial
    from swarm.research.lineage import Lineage
    from swarm.view import View

TRIAL_FIELDS = ("id", "tier", "slot", "accelerator", "seed", "outcome", "value")


def best(
    session: SessionName = None,
    diff: Annotated[bool, typer.Option("--diff", help="Print the diff from the baseline and nothing else.")] = False,
    checkout: Annotated[
        Path | None, typer.Option("--checkout", metavar="DIR", help="Write the winning files into a new folder.")
    ] = None,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Show the best candidate: score, diff and trials."""
    from swarm.home import Home
    from swarm.view import View

    place = Home(home, create=False)
    with View(place, session) as view:
        state = view.refresh().state
        _require_baseline(view)
        if checkout is not None:
            print(f"wrote {_checked_out(place, view, checkout)}")
        elif diff and not as_json:
            print_diff(_lineage(place, view).diff(state.baseline.candidate, state.incumbent.candidate))
        elif as_json:
            found = _best(view)
            if diff:
                found["diff"] = _lineage(place, view).diff(state.baseline.candidate, state.incumbent.candidate)
            print_json(found)
        else:
            _print_best(view, _best(view))


def _best(view: "View") -> dict[str, Any]:
    status, incumbent = view.status(), view.state.incumbent
    return {
        "session": view.state.session,
        "task": status["task"],
        "metric": view.metric,
        "incumbent": status["incumbent"],
        "holdout": status.get("holdout"),
        "status": incumbent.status,
        "author": incumbent.author,
        "hypothesis": incumbent.hypothesis,
        "changes": dict(incumbent.changes),
        "commit": incumbent.candidate,
        "trials": [_trial(trial) for trial in incumbent.trials if trial.candidate == incumbent.candidate],
    }


def _print_best(view: "View", found: dict[str, Any]) -> None:
    from swarm.wording import improvement, plain, score

    incumbent = found["incumbent"]
    print(f"{incumbent['experiment']} ({found['status']}) by {plain(found['author'])}: {plain(found['hypothesis'])}")
    print(f"{found['metric']} {score(incumbent['value'], incumbent['ci95'])} on tier {incumbent['tier']}")
    print(improvement(incumbent))
    if found["holdout"]:
        hidden = found["holdout"]
        print(f"hidden shard: {score(hidden['value'])} against the baseline's {score(hidden['baseline_value'])}")
    print()
    _print_trials(found["trials"])
    print(f"\ncommit {found['commit']}; `swarm best {view.state.session} --diff` shows what it changes")


def _checked_out(place: "Home", view: "View", folder: Path) -> Path:
    from swarm.errors import InputError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there and not an empty folder; name a new one to --checkout")
    return _lineage(place, view).checkout(view.state.incumbent.candidate, folder)


def experiments(session: SessionName = None, as_json: AsJson = False, home: InHome = HOME) -> None:
    """List all experiments of a session."""
    from swarm.home import Home
    from swarm.view import View
    from swarm.wording import short

    with View(Home(home, create=False), session) as view:
        found = [_summary(one) for one in view.refresh().state.experiments.values()]
        if as_json:
            print_json(found)
            return
        print_table(
            ("id", "status", "trials", "best", "hypothesis"),
            [
                (
                    short(one["id"], view.state.session),
                    one["status"],
                    len(one["trials"]),
                    _headline(one["trials"]),
                    one["hypothesis"],
                )
                for one in found
            ],
            empty="no experiments yet",
        )


def _headline(trials: list[dict[str, Any]]) -> str:
    """The last score, with its tier."""
    scored = [trial for trial in trials if trial["value"] is not None]
    return f"{scored[-1]['value']:.4f} {scored[-1]['tier']}" if scored else ""


def experiment(
    name: Annotated[
        str, typer.Argument(metavar="ID", help="Id of an experiment; of the newest session, e012 will do.")
    ],
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Show one experiment and all that happened to it."""
    from swarm.home import Home

    place = Home(home, create=False)
    with _view_of(place, name) as view:
        history = [asdict(event) for event in view.news() if event.experiment and event.experiment.endswith(name)]
        found = _found(view, name)
        history = [event for event in history if event["experiment"] == found.id]
        shown = _whole(place, view, found, history)
        if as_json:
            print_json(shown)
        else:
            _print_whole(shown, view)


def _view_of(place: "Home", name: str) -> "View":
    """The session that an experiment's id names, or the newest."""
    from swarm.view import View

    match = re.fullmatch(r"(.+)-e\d+", name)
    return View(place, match.group(1) if match else None)


def _found(view: "View", name: str) -> "Experiment":
    from swarm.errors import InputError

    found = [one for one in view.state.experiments.values() if one.id == name or one.id.endswith(f"-{name}")]
    if len(found) != 1:
        raise InputError(f"no experiment '{name}' in session {view.state.session}; `swarm experiments` lists them")
    return found[0]


def _whole(place: "Home", view: "View", one: "Experiment", history: list[dict[str, Any]]) -> dict[str, Any]:
    parent = next((e.id for e in view.state.experiments.values() if e.candidate == one.parent), one.parent)
    return _summary(one) | {
        "session": view.state.session,
        "wave": one.wave,
        "changes": dict(one.changes),
        "expected_gain": one.expected_gain,
        "created_at": one.created_at,
        "parent_experiment": parent,
        "candidate": one.candidate,
        "diff": "" if one.parent is None else _lineage(place, view).diff(one.parent, one.candidate),
        "influence": _influence(view, one),
        "citations": [{"id": cited, "title": view.title(cited)} for cited in one.citations],
        "reasons": list(one.reasons),
        "verdict": dict(one.verdict),
        "history": [{key: event[key] for key in ("at", "kind", "key", "data")} for event in history],
    }


def _influence(view: "View", one: "Experiment") -> dict[str, Any]:
    graph = view.influence(one.id)
    return {
        "nodes": [asdict(node) for node in graph.nodes.values()],
        "edges": [{"from": earlier, "to": later} for earlier, later in graph.edges],
    }


def _print_whole(shown: dict[str, Any], view: "View") -> None:
    from swarm.influence import drawn
    from swarm.wording import plain, printable

    print(f"{shown['id']} {shown['status']} by {plain(shown['author'])}, {clock_time(shown['created_at'])}")
    print(plain(shown["hypothesis"]))
    if shown["wave"]:
        print(f"part of {plain(shown['wave'])}, on top of {shown['parent_experiment']}")
    if shown["expected_gain"] is not None:
        print(f"expected gain {shown['expected_gain']:+.4f} {view.metric}")
    for cited in shown["citations"]:
        print(f"cites {plain(cited['title'] or 'an entry that is gone')} ({plain(cited['id'])})")
    if shown["diff"]:
        print()
        print_diff(shown["diff"])
    print("\nwhat led to it, and what came out")
    for line in drawn(view.influence(shown["id"])):
        print(f"  {printable(line)}")
    print("\nwhat happened")
    for event in shown["history"]:
        first, *rest = _told(event)
        print(f"  {clock_time(event['at'])}  {plain(first)}")
        for line in rest:
            print(f"{'':<23}{plain(line)}")
    print()
    _print_trials(shown["trials"])


def _told(event: dict[str, Any]) -> list[str]:
    """One event of an experiment, in words."""
    data = event["data"]
    match event["kind"]:
        case "proposed":
            return ["proposed"]
        case "moved":
            numbers = ", ".join(
                f"{name} {_number(value)}" for name, value in (data["verdict"] or {}).items() if name != "tier"
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
    "rebase": "put on top of the new incumbent",
    "withdraw": "withdrawn",
}


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_number(item) for item in value) + "]"
    return str(value)


def _print_trials(trials: list[dict[str, Any]]) -> None:
    print_table(
        ("trial", "tier", "slot", "accelerator", "seed", "outcome", "value"),
        [
            (*(trial[name] for name in TRIAL_FIELDS[:-1]), "" if trial["value"] is None else f"{trial['value']:.4f}")
            for trial in trials
        ],
        empty="no trials yet",
    )


def _summary(one: "Experiment") -> dict[str, Any]:
    return {
        "id": one.id,
        "status": one.status,
        "author": one.author,
        "hypothesis": one.hypothesis,
        "parent": one.parent,
        "trials": [_trial(trial) for trial in one.trials],
    }


def _trial(trial: "Trial") -> dict[str, Any]:
    return {name: getattr(trial, name) for name in TRIAL_FIELDS}


def _lineage(place: "Home", view: "View") -> "Lineage":
    from swarm.research.lineage import Lineage
    from trainer.contract import find_task

    editable = find_task(view.state.opened["task_folder"]).editable
    return Lineage(place.session(view.state.session) / "repo.git", editable)


def _require_baseline(view: "View") -> None:
    from swarm.errors import InputError

    if not view.state.experiments:
        raise InputError(f"session {view.state.session} has no baseline yet; look again in a few seconds")
