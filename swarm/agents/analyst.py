"""The analyst that needs no model: computes what a finished wave shows in a Jupyter kernel, and writes the finding."""

import asyncio
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from notebook_store.entry import Attachment, Entry, Kind, Link, Relation
from notebook_store.errors import UnknownEntry
from notebook_store.notebook import Notebook
from swarm.agents.graph import Work, run_role
from swarm.agents.roles import ANALYST, write_as
from swarm.errors import KernelDied
from swarm.ports import CellResult, Clock, Kernel, Observation, WaveReport
from swarm.research.waves import DESIGNED, LADDER
from trainer.contract import Outcome

_CELL_SECONDS = 120.0  # generous: a busy machine must not look like a hung cell
_TITLE_EFFECTS = 3

_COMPUTE = """\
import json
from swarm.research.response import finding

found = finding(report)
effects, pairs = found["effects"], found["interactions"]
print(json.dumps(found))
"""

_SHOW = """\
import io
import matplotlib.pyplot as plt
from IPython.display import Image, display

def show(figure):
    png = io.BytesIO()
    figure.savefig(png, dpi=110, bbox_inches="tight")
    plt.close(figure)
    display(Image(data=png.getvalue()))
"""

_PLOT = """\
shown = effects[:12][::-1]
figure, axes = plt.subplots(figsize=(7, 0.6 + 0.35 * len(shown)))
reach = [0 if e["ci"] is None else (e["ci"][1] - e["ci"][0]) / 2 for e in shown]
colours = ["tab:blue" if e["p"] is not None and e["p"] < 0.05 else "silver" for e in shown]
axes.barh([f"{e['factor']} {e['low']} \\u2192 {e['high']}" for e in shown], [e["effect"] for e in shown],
          xerr=reach, color=colours, ecolor="black", capsize=2)
axes.axvline(0, color="black", linewidth=0.8)
axes.set_xlabel(f"effect on {report['metric']}, positive is better (95% interval; blue: p < 0.05)")
axes.set_title(report["wave"])
show(figure)
"""

_PLOT_PAIR = """\
from swarm.research.effects import code

a, b = pairs[0]["a"], pairs[0]["b"]
contrasts, rows = code(report["baseline"], [run["knobs"] for run in report["runs"]])
gains = [run["gain"] for run in report["runs"]]
figure, axes = plt.subplots(figsize=(4.5, 3.2))
for level, name in ((-1, contrasts[b].low), (1, contrasts[b].high)):
    means = []
    for other in (-1, 1):
        cell = [g for row, g in zip(rows, gains) if g is not None and row[a] == other and row[b] == level]
        means.append(sum(cell) / len(cell) if cell else float("nan"))
    axes.plot([str(contrasts[a].low), str(contrasts[a].high)], means, marker="o", label=f"{b} = {name}")
axes.set_xlabel(a)
axes.set_ylabel(f"mean gain, {report['metric']}")
axes.legend()
show(figure)
"""

_PLOT_LADDER = """\
rungs = [rung for rung in found["ladder"]["rungs"] if rung["gain"] is not None]
values = [str(rung["value"]) for rung in rungs]
figure, axes = plt.subplots(figsize=(5, 3.2))
axes.plot(values, [rung["gain"] for rung in rungs], "o", color="black", label="measured")
axes.plot(values, [rung["expected"] for rung in rungs], color="tab:blue", label="parabola")
axes.set_xlabel(found["ladder"]["factor"])
axes.set_ylabel(f"gain, {report['metric']}")
axes.legend()
show(figure)
"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the cells gave, or why they gave nothing."""

    report: WaveReport
    runs: int  # that had a value
    numbers: Mapping[str, Any]  # effects, interactions, lost, aliases; empty where the analysis failed
    cells: Sequence[Mapping[str, Any]]  # source and outputs, for the .ipynb export
    images: Sequence[bytes]  # PNG
    failure: str | None  # one line; None when all went well


class Analyst:
    """Analyses waves, one after the other, in one kernel."""

    def __init__(self, notebook: Notebook, kernel: Kernel, *, clock: Clock) -> None:
        self.notebook = notebook
        self.kernel = kernel
        self.clock = clock

    async def analyse(self, report: WaveReport) -> str:
        """Find out what a wave shows; the id of the insight, or of the note that says why there is none."""
        work: Work[str | None, Finding | str, str] = _Work(self, report)
        return await run_role(ANALYST, work)

    async def compute(self, report: WaveReport) -> Finding:
        """Run the cells; once more on a fresh kernel when the first dies."""
        earlier = await asyncio.to_thread(self._earlier, report)
        for last in (False, True):
            try:
                return await self._computed(report, earlier)
            except KernelDied as error:
                if last:
                    return _failed(report, str(error))
        raise AssertionError("unreachable")

    def _earlier(self, report: WaveReport) -> list[str]:
        """The designed waves of the session that moved the same constants from the same values. Blocking."""
        insights = self.notebook.entries(kinds=[Kind.INSIGHT], task=report.task.name)
        own = [entry for entry in insights if entry.session == report.session and entry.data.get("design") in DESIGNED]
        return [str(entry.data["wave"]) for entry in own if entry.data.get("baseline") == dict(report.baseline)]

    async def _computed(self, report: WaveReport, earlier: Sequence[str]) -> Finding:
        told = question(report, earlier)
        plots = [_PLOT_LADDER] if told["ladder"] else [_PLOT, _PLOT_PAIR]
        sources = [f"import json\nreport = json.loads({json.dumps(told)!r})", _COMPUTE, _SHOW, *plots]
        cells: list[dict[str, Any]] = []
        images: list[bytes] = []
        numbers: dict[str, Any] = {}
        for source in sources:
            if source == _SHOW and not (numbers["effects"] or numbers.get("ladder")):
                return _failed(report, "too few runs have a value to tell any effect", cells)
            if source == _PLOT_PAIR and not numbers["interactions"]:
                break
            result = await self.kernel.run(source, timeout_seconds=_CELL_SECONDS)
            cells.append({"source": source, "outputs": [dict(output) for output in result.outputs]})
            images += result.images
            if result.error is not None:
                return _failed(report, result.error, cells)
            if source == _COMPUTE:
                numbers = _parsed(result)
        scored = sum(run["gain"] is not None for run in told["runs"])
        return Finding(report=report, runs=scored, numbers=numbers, cells=cells, images=images, failure=None)


class _Work:
    """One run of the analyst through the role graph."""

    def __init__(self, analyst: Analyst, report: WaveReport) -> None:
        self.analyst, self.report = analyst, report

    async def recall(self) -> str | None:
        """The id of the finding, when a run that died has already written it."""
        try:
            return (await asyncio.to_thread(self.analyst.notebook.get, _id(self.report))).id
        except UnknownEntry:
            return None

    async def think(self, recalled: str | None, _: str | None) -> Finding | str:
        return recalled if recalled is not None else await self.analyst.compute(self.report)

    async def check(self, reply: Finding | str) -> str | None:
        if isinstance(reply, str) or reply.failure is not None:
            return None
        finite = all(math.isfinite(effect["effect"]) for effect in reply.numbers["effects"])
        return None if finite else "an effect is not a finite number"

    async def write(self, reply: Finding | str) -> str:
        if isinstance(reply, str):
            return reply
        entry = _insight(reply, self.analyst.clock.now()) if reply.failure is None else None
        entry = entry or _note(reply, self.analyst.clock.now())
        await asyncio.to_thread(write_as, ANALYST, self.analyst.notebook, entry)
        return entry.id


def question(report: WaveReport, earlier: Sequence[str]) -> dict[str, Any]:
    """What ``swarm.research.response.finding`` is asked about a wave; ``earlier`` names the designed waves to pool.

    Every set of runs holds the centre: the run without a change, which is not run again. Its gain is what its
    configuration gained when it was screened, and 0 for the baseline, against which gains are measured.
    """
    designed, ladder = report.design in DESIGNED, report.design == LADDER
    waves = {report.wave, *earlier}
    baseline = dict(report.baseline)
    known = [o.gain for o in report.observations if dict(o.knobs) == baseline and o.gain is not None]
    centre = {"experiment": None, "knobs": baseline, "gain": known[0] if known else 0.0}

    def runs(chosen: Iterable[Observation]) -> list[dict[str, Any]]:
        lost = {Outcome.PREEMPTED, Outcome.CONTENDED}
        kept = [o for o in chosen if o.outcome not in lost or o.gain is not None]
        found = [{"experiment": o.experiment, "knobs": {**baseline, **o.knobs}, "gain": o.gain} for o in kept]
        return [*found, centre]

    return {
        "wave": report.wave,
        "metric": report.task.metric,
        "designed": designed,
        "ladder": ladder,
        "noise": report.noise,
        "baseline": baseline,
        "runs": runs(o for o in report.observations if not (designed or ladder) or o.wave == report.wave),
        "pooled": runs(o for o in report.observations if o.wave in waves) if designed else [],
    }


def _parsed(result: CellResult) -> dict[str, Any]:
    numbers = json.loads(result.text.strip().splitlines()[-1])
    assert isinstance(numbers, dict)
    return numbers


def _failed(report: WaveReport, why: str, cells: Sequence[Mapping[str, Any]] = ()) -> Finding:
    return Finding(report=report, runs=0, numbers={}, cells=cells, images=(), failure=why)


def _insight(finding: Finding, now: float) -> Entry:
    report, effects = finding.report, finding.numbers["effects"]
    strongest = [e for e in effects if e["p"] is not None and e["p"] < 0.05][:_TITLE_EFFECTS]
    said = ", ".join(f"{e['factor']} {_signed(e)}" for e in strongest)
    said = f"{said} {report.task.metric}" if said else "no effect above the noise"
    return Entry(
        id=_id(report),
        kind=Kind.INSIGHT,
        title=f"{report.wave}: {said}",
        body=_body(finding),
        author=ANALYST.name,
        session=report.session,
        task=report.task.name,
        created_at=now,
        factors=tuple(e["factor"] for e in effects),
        links=_links(report),
        data={
            **finding.numbers,
            "wave": report.wave,
            "design": report.design,
            "baseline": dict(report.baseline),
            "noise": report.noise,
            "n": finding.runs,
            "cells": [dict(cell) for cell in finding.cells],
        },
        attachments=tuple(
            Attachment(name=f"{name}.png", media_type="image/png", data=image)
            for name, image in zip(("effects", "interaction"), finding.images, strict=False)
        ),
    )


def _note(finding: Finding, now: float) -> Entry:
    report = finding.report
    return Entry(
        id=_id(report),
        kind=Kind.NOTE,
        title=f"{report.wave}: the analysis failed",
        body=f"{report.wave} was not analysed: {finding.failure}. Its results stand as they are.",
        author=ANALYST.name,
        session=report.session,
        task=report.task.name,
        created_at=now,
        links=_links(report),
        data={"wave": report.wave, "design": report.design, "cells": [dict(cell) for cell in finding.cells]},
    )


def _body(finding: Finding) -> str:
    report, numbers = finding.report, finding.numbers
    kind = "Main effects" if report.design in DESIGNED else "Linear trends over all runs of the session"
    if report.design == LADDER:
        kind = "The step to the best rung"
    unit = report.task.metric
    lines = [
        f"{kind} of {report.wave} ({report.design}, {finding.runs} runs with a score), in {unit}; positive is better.",
        "",
        "| factor | from → to | effect | 95% interval | p |",
        "|---|---|---|---|---|",
        *(_row(e, f"{e['factor']} | {e['low']} → {e['high']}") for e in numbers["effects"]),
    ]
    if numbers["interactions"]:
        lines += ["", "Interactions of the strongest factors, each added alone to their main effects:", ""]
        lines += ["| pair | effect | 95% interval | p |", "|---|---|---|---|"]
        lines += [_row(pair, f"{pair['a']} × {pair['b']}") for pair in numbers["interactions"]]
    lines += [*_together(numbers["response"]), *_rungs(numbers.get("ladder"))]
    leaks = {factor: pairs for factor, pairs in numbers["aliases"].items() if pairs}
    if leaks:
        lines += ["", "Aliased: every main effect holds a part of the interactions of the other factors."]
    if numbers["lost"]:
        lines += ["", f"Too few runs to tell, taken as nought: {', '.join(numbers['lost'])}."]
    noise = "not measured; intervals rest on the residuals" if report.noise is None else f"sd {report.noise:.4g}"
    lines += ["", f"Noise of one score: {noise}."]
    return "\n".join(lines)


def _together(response: Mapping[str, Any] | None) -> list[str]:
    """What all designed waves so far say, as lines of the page."""
    if response is None:
        return []
    if not response["effects"] and not response["interactions"]:
        return ["", f"All {response['runs']} designed runs together: nothing is certain yet."]
    lines = ["", f"What all {response['runs']} designed runs together hold certain, each beside the others:", ""]
    lines += ["| term | effect | 95% interval | p |", "|---|---|---|---|"]
    lines += [_row(effect, effect["factor"]) for effect in response["effects"]]
    return lines + [_row(pair, f"{pair['a']} × {pair['b']}") for pair in response["interactions"]]


def _rungs(ladder: Mapping[str, Any] | None) -> list[str]:
    """Every value of a ladder, as lines of the page."""
    if ladder is None:
        return []
    rows = [
        f"| {rung['value']} | {'no score' if rung['gain'] is None else format(rung['gain'], '+.4f')} | "
        f"{rung['expected']:+.4f} |"
        for rung in ladder["rungs"]
    ]
    return ["", f"| {ladder['factor']} | gain | by the parabola |", "|---|---|---|", *rows]


def _row(found: Mapping[str, Any], name: str) -> str:
    interval = "not known" if found["ci"] is None else f"{found['ci'][0]:+.4f} to {found['ci'][1]:+.4f}"
    p = "not known" if found["p"] is None else f"{found['p']:.3f}"
    return f"| {name} | {found['effect']:+.4f} | {interval} | {p} |"


def _signed(effect: Mapping[str, Any]) -> str:
    return f"{effect['effect']:+.3f}" + (f" ± {effect['se']:.3f}" if effect["se"] is not None else "")


def _id(report: WaveReport) -> str:
    return f"{report.session}-{re.sub(r'[^A-Za-z0-9]+', '-', report.wave)}-finding"


def _links(report: WaveReport) -> tuple[Link, ...]:
    own = [o.experiment for o in report.observations if o.wave == report.wave]
    return tuple(Link(kind=Relation.DERIVED_FROM, target=f"{name}-hypothesis") for name in dict.fromkeys(own))
