"""The analyst that thinks: writes and runs code in the session's kernel over its data, and says what that shows."""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from notebook_store.entry import Attachment, Entry, Kind, Link, Relation
from notebook_store.notebook import Notebook
from swarm.agents.mind import Mind
from swarm.agents.recall import fenced, listed, remembered
from swarm.agents.replies import Finding
from swarm.agents.roles import ANALYST, write_once
from swarm.agents.thought import Facts, Thought
from swarm.agents.tools import Skill, skill
from swarm.errors import KernelDied
from swarm.ports import Clock, Kernel, WaveReport

_CELL_SECONDS = 60.0
_OUTPUT_CHARACTERS = 4_000  # of one cell, shown to the model
_FIGURES = 6


class ModelAnalyst:
    """Looks once at every wave, after the rule-based analysis has written its tables."""

    def __init__(self, mind: Mind, notebook: Notebook, kernel: Kernel, *, clock: Clock) -> None:
        self.name = mind.author
        self._mind = mind
        self._notebook = notebook
        self._kernel = kernel
        self._clock = clock

    async def look(self, report: WaveReport) -> str:
        """The id of the finding. Raises ModelError, and SwarmError for an answer that was refused twice."""
        page = f"{report.session}-{re.sub(r'[^A-Za-z0-9]+', '-', report.wave)}-{self.name}"
        cells: list[dict[str, Any]] = []
        images: list[bytes] = []

        async def run_cell(source: str) -> str:
            return await self._ran(report, source, cells, images)

        async def facts(tokens: int) -> Facts:
            return await asyncio.to_thread(self._facts, report, tokens)

        async def find(reply: Finding) -> str | None:
            return None if reply.title.strip() and reply.body.strip() else "a finding needs a title and a body"

        async def finish(reply: Finding) -> str:
            await asyncio.to_thread(self._write, page, report, reply, cells, images)
            return page

        skills: dict[str, Skill] = {
            "run_cell": skill("run_cell", "Runs Python; gives what it prints.", run_cell, "source")
        }
        thought: Thought[Finding, str] = Thought(
            role=ANALYST, mind=self._mind, run=page, facts=facts, find=find, finish=finish, skills=skills
        )
        return await thought.think_through()

    async def _ran(self, report: WaveReport, source: str, cells: list[dict[str, Any]], images: list[bytes]) -> str:
        """What a cell gave. A kernel that died is told of; the next cell has a new one, with the data in it."""
        try:
            if not cells:
                opening = f"import json\nreport = json.loads({json.dumps(told(report))!r})"
                await self._kernel.run(opening, timeout_seconds=_CELL_SECONDS)
                cells.append({"source": opening, "outputs": []})
            result = await self._kernel.run(source, timeout_seconds=_CELL_SECONDS)
        except KernelDied as error:
            cells.clear()  # what they defined is gone
            return f"{error}; the data is loaded anew with your next cell, the rest is lost"
        cells.append({"source": source, "outputs": [dict(output) for output in result.outputs]})
        images += result.images
        text = result.text if result.error is None else f"{result.text}\n{result.error}"
        return fenced("output", text[:_OUTPUT_CHARACTERS] or "(nothing printed)")

    def _facts(self, report: WaveReport, tokens: int) -> Facts:
        recalled = remembered(ANALYST, self._notebook, query=report.wave, session=report.session, task=report.task.name)
        return {
            "task": report.task.name,
            "metric": report.task.metric,
            "direction": "lower" if report.task.direction == "minimize" else "higher",
            "wave": report.wave,
            "runs": len(report.observations),
            "recalled": listed(recalled, tokens),
        }

    def _write(
        self,
        page: str,
        report: WaveReport,
        reply: Finding,
        cells: Sequence[Mapping[str, Any]],
        images: Sequence[bytes],
    ) -> None:
        finding = Entry(
            id=page,
            kind=Kind.INSIGHT,
            title=" ".join(reply.title.split())[:160],
            body=reply.body,
            author=self.name,
            session=report.session,
            task=report.task.name,
            created_at=self._clock.now(),
            factors=tuple(factor for factor in reply.factors if factor in report.baseline),
            links=tuple(
                Link(kind=Relation.DERIVED_FROM, target=f"{one.experiment}-hypothesis")
                for one in report.observations
                if one.wave == report.wave
            ),
            data={"wave": report.wave, "cells": [dict(cell) for cell in cells]},
            attachments=tuple(
                Attachment(name=f"figure-{number}.png", media_type="image/png", data=image)
                for number, image in enumerate(images[:_FIGURES], 1)
            ),
        )
        write_once(ANALYST, self._notebook, finding)
        for number, question in enumerate(reply.questions[:3], 1):
            asked = " ".join(question.split()).rstrip("?")[:158] + "?"
            write_once(
                ANALYST,
                self._notebook,
                Entry(
                    id=f"{page}-question-{number}",
                    kind=Kind.NOTE,
                    title=asked,
                    body=question,
                    author=self.name,
                    session=report.session,
                    task=report.task.name,
                    created_at=self._clock.now(),
                    links=(Link(kind=Relation.DERIVED_FROM, target=page),),
                ),
            )


def told(report: WaveReport) -> dict[str, Any]:
    """The session's data as the cells get it."""
    return {
        "wave": report.wave,
        "metric": report.task.metric,
        "noise": report.noise,
        "baseline": dict(report.baseline),
        "runs": [
            {
                "experiment": o.experiment,
                "wave": o.wave,
                "knobs": dict(o.knobs),
                "gain": o.gain,
                "outcome": o.outcome,
                "seconds": o.seconds,
                "author": o.author,
            }
            for o in report.observations
        ],
    }
