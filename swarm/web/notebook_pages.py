"""Pages of the notebook and the library: lists, searches, one entry, one paper, the map of influence."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response

from notebook_store.entry import Attachment
from notebook_store.errors import UnknownEntry
from swarm.errors import InputError
from swarm.influence import Influence, influence, steps
from swarm.web.books import Sought, bound, facets, find, telling
from swarm.web.desk import Desk
from swarm.web.influence import DEPTH, EXPERIMENTS, address, picture

PICTURES = ("image/png", "image/jpeg")  # attachments that are shown; all others are only offered to be saved
_PAPERS_BESIDE = 3  # papers that a search of the notebook shows too


def notebook_pages(desk: Desk) -> APIRouter:
    """The routes."""
    router = APIRouter()
    reading = desk.reading

    @router.get("/notebook")
    def notebook(request: Request, sought: Annotated[Sought, Query()]) -> HTMLResponse:
        book = reading.notebook
        facts: dict[str, Any] = {"sought": sought, "found": None, "papers": [], "facets": {}}
        if book is not None:
            facts["found"] = find(book, sought)
            facts["papers"] = reading.library.search(sought.q, _PAPERS_BESIDE) if sought.q.strip() else []
        if sought.part == "results":
            return HTMLResponse(desk.draw("part_results.html", facts))
        with reading.view(sought.session or None) as view:
            if book is not None:
                facts["facets"] = facets(book, sought)
                facts["factors"] = sorted({name for one in view.state.experiments.values() for name in one.changes})
            return desk.page(request, "notebook.html", view, facts)

    @router.get("/notebook/{name:path}")
    def entry(request: Request, name: str) -> HTMLResponse:
        book = reading.notebook
        if book is None:
            raise InputError("the notebook is still empty; a session writes in it")
        found = book.get(name)
        with reading.view(found.session if found.session in reading.sessions() else None) as view:
            pictures = [(n, one) for n, one in enumerate(found.attachments) if one.media_type in PICTURES]
            files = [(n, one) for n, one in enumerate(found.attachments) if one.media_type not in PICTURES]
            facts = {
                "entry": found,
                "bound": bound(book, found),
                "back": book.links_to(name),
                "pictures": pictures,
                "files": files,
                "cells": _cells(found.data.get("cells")),
                "data": {key: value for key, value in found.data.items() if key != "cells"},
            }
            return desk.page(request, "entry.html", view, facts)

    @router.get("/file/{number}/{name:path}")
    def attachment(number: int, name: str) -> Response:
        book = reading.notebook
        attachments: tuple[Attachment, ...] = book.get(name).attachments if book is not None else ()
        if not 0 <= number < len(attachments):
            raise UnknownEntry(f"entry {name} has no attachment {number}")
        one = attachments[number]
        if one.media_type in PICTURES:
            return Response(one.data, media_type=one.media_type)
        headers = {"content-disposition": "attachment"}
        return Response(one.data, media_type="application/octet-stream", headers=headers)

    @router.get("/s/{session}/influence")
    def map_of_influence(request: Request, session: str) -> HTMLResponse:
        with reading.view(session) as view:
            book = reading.notebook
            drawn = [one.id for one in telling(view, EXPERIMENTS)]
            graph = Influence(nodes={}, edges=()) if book is None else influence(book, drawn, DEPTH)
            facts = {"pic": picture(view, graph, drawn), "steps": list(steps(graph)), "address": address}
            return desk.page(request, "influence.html", view, facts)

    return router


def _cells(cells: object) -> list[dict[str, Any]]:
    """Code cells of an analysis with their outputs as text, as far as they have the right form."""
    found = []
    for cell in cells if isinstance(cells, list) else []:
        if isinstance(cell, dict) and isinstance(source := cell.get("source"), str):
            outputs = cell.get("outputs")
            texts = [str(out.get("text", "")) for out in outputs or [] if isinstance(out, dict)]
            found.append({"source": source, "output": "".join(texts)})
    return found
