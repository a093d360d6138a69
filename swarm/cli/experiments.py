"""best, experiments, experiment: what was tried and what was found."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import HOME, AsJson, InHome, SessionName, experiment_names
from swarm.cli.output import clock_time, paged, print_diff, print_json, print_table

if TYPE_CHECKING:
    from swarm.home import Home
    from swarm.view import View


@paged
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
    from swarm.dossier import lineage_of
    from swarm.home import Home
    from swarm.view import View

    place = Home(home, create=False)
    with View(place, session) as view:
        state = view.refresh().state
        _require_baseline(view)
        if checkout is not None:
            print(f"wrote {_checked_out(place, view, checkout)}")
        elif diff and not as_json:
            print_diff(lineage_of(place, view).diff(state.baseline.candidate, state.incumbent.candidate))
        elif as_json:
            found = _best(view)
            if diff:
                found["diff"] = lineage_of(place, view).diff(state.baseline.candidate, state.incumbent.candidate)
            print_json(found)
        else:
            _print_best(view, _best(view))


def _best(view: "View") -> dict[str, Any]:
    from swarm.dossier import trial_row

    status, incumbent = view.status(), view.state.incumbent
    return {
        "session": view.state.session,
        "task": status["task"],
        "metric": view.metric,
        "incumbent": status["incumbent"],
        "holdout": status["holdout"],
        "ablation": status["ablation"],
        "status": incumbent.status,
        "author": incumbent.author,
        "hypothesis": incumbent.hypothesis,
        "changes": dict(incumbent.changes),
        "commit": incumbent.candidate,
        "trials": [trial_row(trial) for trial in incumbent.trials if trial.candidate == incumbent.candidate],
    }


def _print_best(view: "View", found: dict[str, Any]) -> None:
    from swarm.wording import hidden_shard, improvement, plain, score, worth

    incumbent = found["incumbent"]
    print(f"{incumbent['experiment']} ({found['status']}) by {plain(found['author'])}: {plain(found['hypothesis'])}")
    print(f"{found['metric']} {score(incumbent['value'], incumbent['ci95'])} on tier {incumbent['tier']}")
    print(improvement(incumbent))
    if found["holdout"]:
        print(f"hidden shard: {hidden_shard(found['holdout'])}")
    if found["ablation"]:
        print("\nworth of each kept change, taken out by itself")
        for change in found["ablation"]["changes"]:
            print(f"  {worth(change, found['ablation']['taken_out'])}")
    print()
    _print_trials(found["trials"], view)
    print(f"\ncommit {found['commit']}; `swarm best {view.state.session} --diff` shows what it changes")


def _checked_out(place: "Home", view: "View", folder: Path) -> Path:
    from swarm.dossier import lineage_of
    from swarm.errors import InputError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} is there and not an empty folder; name a new one to --checkout")
    return lineage_of(place, view).checkout(view.state.incumbent.candidate, folder)


@paged
def experiments(
    session: SessionName = None,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write the trials to a file for `bench --trials`.")
    ] = None,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """List all experiments of a session."""
    from swarm.dossier import summary
    from swarm.exporting import export_trials
    from swarm.home import Home
    from swarm.status import noise_floors
    from swarm.view import View
    from swarm.wording import noise, short

    place = Home(home, create=False)
    with View(place, session) as view:
        if export is not None:
            done = export_trials(place, view.refresh(), export)
            print(f"wrote {done.written} screening trials to {export}; {done.left_out} left out")
            return
        found = [summary(one) for one in view.refresh().state.experiments.values()]
        if as_json:
            print_json(found)
            return
        print_table(
            ("id", "status", "trials", "last score", f"hypothesis ({noise(noise_floors(view.state))})"),
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


@paged
def experiment(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Id of an experiment; of the newest session, e012 will do.",
            autocompletion=experiment_names,
        ),
    ],
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Show one experiment and all that happened to it."""
    from swarm.dossier import dossier, find, view_of
    from swarm.home import Home

    place = Home(home, create=False)
    with view_of(place, name) as view:
        shown = dossier(place, view, find(view.refresh(), name))
        if as_json:
            print_json(shown)
        else:
            _print_whole(shown, view)


def _print_whole(shown: dict[str, Any], view: "View") -> None:
    from swarm.dossier import told
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
        first, *rest = told(event)
        print(f"  {clock_time(event['at'])}  {plain(first)}")
        for line in rest:
            print(f"{'':<23}{plain(line)}")
    print()
    _print_trials(shown["trials"], view)


def _print_trials(trials: list[dict[str, Any]], view: "View") -> None:
    from swarm.status import noise_floors
    from swarm.wording import noise

    print_table(
        ("trial", "tier", "slot", "accelerator", "seed", "outcome", f"value ({noise(noise_floors(view.state))})"),
        [
            (
                *(trial[name] for name in ("id", "tier", "slot", "accelerator", "seed", "outcome")),
                "" if trial["value"] is None else f"{trial['value']:.4f}",
            )
            for trial in trials
        ],
        empty="no trials yet",
    )


def _require_baseline(view: "View") -> None:
    from swarm.errors import InputError

    if not view.state.experiments:
        raise InputError(f"session {view.state.session} has no baseline yet; look again in a few seconds")
