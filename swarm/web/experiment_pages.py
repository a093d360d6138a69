"""Pages of experiments: the table of all, and one with everything that happened to it."""

from contextlib import AbstractContextManager
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from notebook_store.entry import Kind
from swarm.dossier import dossier, find, told
from swarm.errors import InputError
from swarm.research.experiment import Status
from swarm.status import noise_floors
from swarm.view import View
from swarm.web.curves import curves
from swarm.web.desk import Desk
from swarm.web.overview import TIERS
from swarm.web.pages import pages_of
from swarm.web.tables import Wanted, experiment_rows, facets, lineage
from swarm.wording import noise
from trainer.contract import TaskError


def experiment_pages(desk: Desk) -> APIRouter:
    """The routes."""
    router = APIRouter()
    reading = desk.reading

    @router.get("/s/{session}/experiments")
    def experiments(request: Request, session: str, wanted: Annotated[Wanted, Query()]) -> HTMLResponse:
        with reading.view(session) as view:
            rows = experiment_rows(view, wanted)
            pages = pages_of(len(rows), wanted.page)
            shown = rows[pages["start"] : pages["start"] + pages["size"]]
            facts: dict[str, Any] = {"rows": shown, "pages": pages, "wanted": wanted, "facets": facets(view)}
            facts |= {"total": len(view.state.experiments)}
            if wanted.part == "rows":
                facts |= {"session": session, "given": wanted.model_dump(exclude_defaults=True, exclude={"part"})}
                return HTMLResponse(desk.draw("part_rows.html", facts))
            return desk.page(request, "experiments.html", view, facts)

    @router.get("/e/{name}")
    def experiment(request: Request, name: str) -> HTMLResponse:
        with _view_of(desk, name) as view:
            one = find(view, name)
            try:
                shown = dossier(reading.home, view, one)
            except TaskError as error:
                raise InputError(f"{error}; the diff of {name} needs the task's folder") from error
            pictures = [curves(reading, view, one, tier) for tier in TIERS]
            notebook = reading.notebook
            entries = notebook.entries(experiment=one.id)[::-1] if notebook is not None else []
            facts = {
                "one": one,
                "shown": shown,
                "history": [(event["at"], told(event)) for event in shown["history"]],
                "curves": [picture for picture in pictures if picture is not None],
                "reviews": [entry for entry in entries if entry.kind is Kind.REVIEW],
                "entries": [entry for entry in entries if entry.kind is not Kind.REVIEW],
                "lineage": lineage(view, one),
                "held": one.status is Status.HELD,
                "noise": noise(noise_floors(view.state)),
                "over": view.state.ended is not None,  # nobody may steer by the hidden shard
            }
            return desk.page(request, "experiment.html", view, facts)

    return router


def _view_of(desk: Desk, name: str) -> AbstractContextManager[View]:
    """The view of the session that an experiment's id names. Raises InputError."""
    session, dash, _ = name.rpartition("-e")
    if not dash:
        raise InputError(f"no experiment '{name}'; its address bears its session too, like tinytext-1-e012")
    return desk.reading.view(session)
