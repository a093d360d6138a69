"""The live picture of a session in a terminal. Draws what a view shows; decides nothing."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from notebook_store.entry import Entry, Kind
from swarm.agents.kept import Voice
from swarm.leases.budget import Left
from swarm.leases.lease import SlotState
from swarm.research.experiment import Trial
from swarm.status import LIVE, Json, standing_of
from swarm.view import View
from swarm.wording import at_work, duration, fates, improvement, plain, score, share, short, tail

ENTRIES = 6  # notebook entries shown
KINDS = (Kind.RESULT, Kind.DECISION, Kind.INSIGHT, Kind.CLAIM, Kind.NOTE)  # not what is only proposed and reviewed
SLOTS = 16  # slots shown; of more, the rest is counted
VOICES = 4  # specialists shown while they think, each in the place of an entry
SAID = 48  # characters of what one says: they fit on 80 columns
LEVELS = "▁▂▃▄▅▆▇█"


def dashboard(view: View, *, notice: str = "") -> RenderableType:
    """The whole picture as of now; ``notice`` is said at the bottom."""
    status = view.status()
    head = Text(f"{view.state.session} · task {view.state.opened.get('task', '?')} · {view.phase() or status['state']}")
    voices = view.voices()[:VOICES] if status["state"] in LIVE else []
    parts: list[RenderableType] = [
        _best(view, status),
        Text(),
        _slots(view.slots(), view, now=view.now),
        _work(status, waiting=len(view.queue())),
        Text(),
        *([_voices(voices)] if voices else []),
        _notebook(view.entries(ENTRIES - len(voices), KINDS), view.state.session),
        Text(),
        _means(status, view.left(status)),
    ]
    if notice:
        parts.append(Text(plain(notice), style="bold yellow"))
    return Panel(Group(*parts), title=head, title_align="left", border_style="cyan", padding=(0, 1))


def _best(view: View, status: Json) -> RenderableType:
    incumbent = status["incumbent"]
    if incumbent is None or incumbent["value"] is None:
        return Text("measuring the baseline", style="bold")
    line = Text("best ", style="bold")
    line.append(f"{view.metric} {score(incumbent['value'], incumbent['ci95'])}", style="bold green")
    line.append(f"  {improvement(incumbent)}", style="")
    experiment = view.state.experiments[incumbent["experiment"]]
    what = Text(f"{short(experiment.id, view.state.session)}: {plain(experiment.hypothesis)}", style="dim")
    what.no_wrap, what.overflow = True, "ellipsis"
    return Group(line, what, Text(f"incumbents so far {staircase(_path(view))}", style="dim"))


def _path(view: View) -> list[float]:
    """Validation mean of every incumbent, oldest first, the better the higher."""
    sign = -1 if view.minimize else 1
    found = [
        standing_of(view.state, view.state.experiments[name], minimize=view.minimize) for name in view.state.incumbents
    ]
    return [sign * standing.value for standing in found if standing is not None][-40:]


def staircase(values: Sequence[float]) -> str:
    """Values as a row of blocks between the lowest and the highest."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    scale = (len(LEVELS) - 1) / (high - low) if high > low else 0.0
    return "".join(LEVELS[round((value - low) * scale)] for value in values)


def _slots(slots: Sequence[SlotState], view: View, *, now: float) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("slot", no_wrap=True, min_width=6)
    table.add_column("runs", no_wrap=True, min_width=16)
    table.add_column("tier", no_wrap=True, min_width=8)
    table.add_column("", width=24)
    table.add_column("seconds", no_wrap=True)
    for slot in slots[:SLOTS]:
        if slot.lease is None:
            free = Text("free", style="dim") if slot.unavailable is None else Text("unavailable", style="yellow")
            table.add_row(slot.slot.name, free, "", "", "")
            continue
        seconds, usual = now - slot.lease.granted_at, view.typical_seconds(slot.lease.tier)
        trial = view.state.live_trials.get(slot.lease.request_id)
        told = f"{seconds:.0f} s" + (f" of about {usual:.0f} s" if usual else "")
        bar = ProgressBar(total=usual, completed=min(seconds, usual), width=24) if usual else Text()
        table.add_row(slot.slot.name, _runs(slot, trial, view), slot.lease.tier, bar, told)
    if len(slots) > SLOTS:
        busy = sum(slot.lease is not None for slot in slots[SLOTS:])
        table.add_row(f"{len(slots) - SLOTS} more", f"{busy} busy", "", "", "")
    return table


def _runs(slot: SlotState, trial: Trial | None, view: View) -> str:
    if trial is not None:
        return f"{short(trial.experiment, view.state.session)} seed {trial.seed}"
    if slot.lease is not None and slot.lease.session != view.state.session:
        return f"session {plain(slot.lease.session)}"
    return "starting"


def _work(status: Json, *, waiting: int) -> RenderableType:
    plateau = status["plateau"]
    barren = f" · plateau: {plateau['experiments']} experiments without a confirmed gain" if plateau else ""
    return Text(f"queue {waiting} trials · experiments: {fates(status['counts'])}{barren}", style="")


def _notebook(entries: Sequence[Entry], session: str) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("kind", no_wrap=True, min_width=8, style="magenta")
    table.add_column("experiment", no_wrap=True, min_width=4, style="dim")
    table.add_column("title", no_wrap=True, overflow="ellipsis")
    for entry in entries:
        table.add_row(entry.kind.value, short(entry.experiment or "", session), Text(plain(entry.title)))
    if not entries:
        table.add_row("notebook", "", Text("nothing written yet", style="dim"))
    return table


def _voices(voices: Sequence[Voice]) -> RenderableType:
    """What those who think are at, and the newest of their words."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column("author", no_wrap=True, style="magenta")
    table.add_column("doing", no_wrap=True)
    table.add_column("said", no_wrap=True, overflow="ellipsis")
    for voice in voices:
        table.add_row(plain(voice.author), at_work(voice.doing), Text(tail(voice.said, SAID), style="dim"))
    return table


def _means(status: Json, left: Left) -> RenderableType:
    parts = [f"{duration(status['elapsed_seconds'])} worked"]
    parts += [f"{duration(left.seconds)} left"] if left.seconds is not None else []
    parts += [f"{left.experiments} experiments left"] if left.experiments is not None else []
    used = f"{status['gpu_hours']:.2f} slot-hours"
    parts.append(used + (f", {left.gpu_hours:.2f} left" if left.gpu_hours is not None else ""))
    if status["dollars"] or left.dollars is not None:
        parts.append(f"${status['dollars']:.2f}" + (f", ${left.dollars:.2f} left" if left.dollars is not None else ""))
    parts.append(f"slots busy {share(status['occupancy'])}")
    if status["noise"]:
        parts.append("noise sd " + ", ".join(f"{tier} {sd:.4f}" for tier, sd in status["noise"].items()))
    return Text(" · ".join(parts), style="dim")
