"""What a person reads when a run is over: the result, what it cost, and what to do next."""

import os
import shlex
from pathlib import Path

from swarm.view import View
from swarm.wording import duration, fates, hidden_shard, improvement, plain, score, share, short, worth
from trainer.contract import builtin_tasks


def print_closing(view: View) -> None:
    """Print the result of a session whose run has ended."""
    status = view.refresh().status()
    run = view.state.runs[len(view.state.runs)]
    name = view.state.session
    print(f"\n{name} {status['state']}: {plain(run.reason)}")
    incumbent = status["incumbent"]
    if incumbent is not None:
        best = view.state.experiments[incumbent["experiment"]]
        start = "" if best.id == view.state.baseline.id else f"{score(incumbent['baseline_value'])} → "
        print(f"  {view.metric:<14}{start}{score(incumbent['value'], incumbent['ci95'])} on tier {incumbent['tier']}")
        print(f"  {'gain':<14}{improvement(incumbent)}")
        print(f"  {'best':<14}{short(best.id, name)} by {plain(best.author)}: {plain(best.hypothesis)}")
    if status["holdout"]:
        print(f"  {'hidden shard':<14}{hidden_shard(status['holdout'])}")
    for number, change in enumerate(status["ablation"]["changes"] if status["ablation"] else ()):
        print(f"  {'worth' if not number else '':<14}{worth(change, status['ablation']['taken_out'])}")
    print(f"  {'experiments':<14}{fates(status['counts'])}")
    worked, busy = duration(status["elapsed_seconds"]), share(status["occupancy"])
    dollars = f", ${status['dollars']:.2f}" if status["dollars"] else ""
    tokens = f", {status['tokens']:,} tokens of models" if status["tokens"] else ""
    print(f"  {'used':<14}{status['gpu_hours']:.2f} slot-hours in {worked}, slots busy {busy}{tokens}{dollars}")
    opened = view.state.opened
    task = opened["task"] if opened["task"] in builtin_tasks() else opened["task_folder"]
    resumable, thought = status["state"] != "ended", bool(status["models"])
    print(next_steps(name, task, swarm=_command(view.home), resumable=resumable, thought=thought))


def _command(home: Path) -> str:
    """How to call this program so that it finds this home again."""
    found = Path(os.environ.get("SWARM_HOME", ".swarm")).expanduser().resolve()
    return "swarm" if found == home else f"swarm --home {shlex.quote(str(home))}"


def next_steps(session: str, task: str, *, swarm: str, resumable: bool, thought: bool) -> str:
    """Commands worth trying now; ``swarm`` is how the program is called, ``thought`` whether a model has."""
    steps = [
        ("best --diff", "what the best candidate changes"),
        ("best --checkout DIR", "the winning files in a folder of their own"),
        ("browse", "all of it in the browser"),
        ("experiments", "everything that was tried"),
        ("notebook list", "the notebook: why it was tried, what came out"),
        ("notebook search 'learning rate'", "find in it by meaning"),
        ("papers add PATH", "give the reader papers of yours"),
        (f"start {shlex.quote(task)} --hours 8", "run overnight"),
        ("start path/to/your/task", "your own training script; `swarm task check` looks it over"),
        ("doctor", "what this machine can do, GPUs included; docs/deploy.md tells of clusters"),
    ]
    if not thought:
        steps.append(("start --help", "with OPENAI_API_KEY set, the specialists think with a model: docs/models.md"))
    if resumable:
        steps.insert(0, (f"start --session {session}", "go on where it stopped"))
    width = max(len(command) for command, _ in steps)
    return "\nwhat next\n" + "\n".join(f"  {swarm} {command:<{width}}  {what}" for command, what in steps)
