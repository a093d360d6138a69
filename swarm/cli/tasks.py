"""task new|check|list: what can be worked on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import AsJson
from swarm.cli.output import print_json, print_table

if TYPE_CHECKING:
    from trainer.contract import Task

app = typer.Typer(help="Tasks: folders with one editable file, a metric and budgets.", no_args_is_help=True)


@app.command("list")
def list_tasks(as_json: AsJson = False) -> None:
    """List the built-in tasks."""
    from trainer.contract import builtin_tasks, find_task

    tasks = [_summary(find_task(name)) for name in builtin_tasks()]
    if as_json:
        print_json(tasks)
        return
    print_table(
        ("task", "metric", "direction", "device", "budgets"),
        [(t["name"], t["metric"], t["direction"], t["device"], _budgets(t["budgets"])) for t in tasks],
        empty="no built-in tasks",
    )


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that is empty or not there yet.")],
) -> None:
    """Write a minimal task of your own, ready to run."""
    from trainer.contract import new_task

    new_task(folder)
    print(f"wrote {', '.join(sorted(path.name for path in folder.iterdir()))} into {folder}")
    print(f"next: put your own script there, `swarm task check {folder}`, `swarm start {folder}`")


@app.command()
def check(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Built-in task or the path of a task folder.")],
    as_json: AsJson = False,
) -> None:
    """Read a task and say what the swarm sees in it.

    Exit 2 with the reason when it cannot be used.
    """
    from swarm.research.knobs import derive_ranges, read_knobs
    from trainer.contract import find_task

    found = find_task(task)
    knobs = read_knobs(found.editable_path.read_text(encoding="utf-8"))
    ranges = derive_ranges(knobs, found.ranges)
    shown = _summary(found) | {
        "constants": {
            name: {
                "value": knobs[name],
                "low": spread.low,
                "high": spread.high,
                "log": spread.log,
                "choices": list(spread.choices),
                "from": "task.toml" if name in found.ranges else "derived",
            }
            for name, spread in ranges.items()
        }
    }
    if as_json:
        print_json(shown)
        return
    print(f"{shown['name']}: {shown['direction']} {shown['metric']} ({shown['trust']}) by editing {shown['editable']}")
    print(f"runs on {shown['device']}, {shown['threads']} threads a trial; budgets: {_budgets(shown['budgets'])}")
    print(f"each trial: {shown['command']}\n")
    print_table(
        ("constant", "value", "searched", "from"),
        [(name, row["value"], _searched(row), row["from"]) for name, row in shown["constants"].items()],
        empty=f"no ALL_CAPS constants to search in {shown['editable']}; name some at its top",
    )


def _summary(task: "Task") -> dict[str, Any]:
    return {
        "name": task.name,
        "folder": str(task.folder),
        "editable": task.editable,
        "protected": list(task.protected),
        "metric": task.metric,
        "direction": task.direction,
        "trust": task.trust,
        "device": task.device,
        "threads": task.threads,
        "memory_mb": task.memory_mb,
        "command": _command(task),
        "budgets": {tier: {"kind": budget.kind, "amount": budget.amount} for tier, budget in task.budgets.items()},
    }


def _command(task: "Task") -> str:
    """What one trial runs."""
    import shlex

    from trainer.contract import Trust

    return f"{task.editable}, under the judge" if task.trust is Trust.JUDGED else shlex.join(task.command)


def _budgets(budgets: dict[str, dict[str, Any]]) -> str:
    return ", ".join(f"{tier} {budget['amount']:g} {_UNITS[budget['kind']]}" for tier, budget in budgets.items())


_UNITS = {"cpu": "CPU-seconds", "wall": "seconds", "steps": "steps"}


def _searched(row: dict[str, Any]) -> str:
    if row["choices"]:
        return "one of " + ", ".join(str(choice) for choice in row["choices"])
    return f"{row['low']:g} to {row['high']:g}" + (", log scale" if row["log"] else "")
