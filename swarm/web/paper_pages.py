"""Pages of the library: the papers, how far each was read, how what it claims fared here."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from papers.store import UnknownPaperError
from swarm.errors import InputError
from swarm.web.books import Fared, fared
from swarm.web.desk import Desk
from swarm.web.pages import pages_of

_PASSAGES = 30  # of a paper's text
_HITS = 30  # of a search


def paper_pages(desk: Desk) -> APIRouter:
    """The routes."""
    router = APIRouter()
    reading = desk.reading

    @router.get("/papers")
    def papers(request: Request, q: str = "", session: str = "", page: int = 1) -> HTMLResponse:
        library = reading.library
        with reading.view(session or None) as view:
            told = fared(reading.notebook, view.state.experiments.values())
            status = library.status()
            pages = pages_of(status.papers, page)
            hits = library.search(q, _HITS) if q.strip() else []
            listed = [] if q.strip() else library.papers(limit=pages["size"], offset=pages["start"])
            facts: dict[str, Any] = {
                "q": q,
                "hits": hits,
                "papers": listed,
                "pages": pages,
                "library": status,
                "fared": told,
            }
            facts["nothing"] = Fared(claims=(), tried={})
            facts["read"] = [library.get(name) for name in told if q == "" and page == 1]
            return desk.page(request, "papers.html", view, facts)

    @router.get("/papers/{name:path}")
    def paper(request: Request, name: str, session: str = "") -> HTMLResponse:
        library = reading.library
        try:
            found, passages = library.get(name), list(library.text(name))
        except UnknownPaperError as error:
            raise InputError(str(error.args[0])) from error
        with reading.view(session or None) as view:
            told = fared(reading.notebook, view.state.experiments.values()).get(name)
            claims = told.claims if told else ()
            citing = {
                claim.id: [one for one in view.state.experiments.values() if claim.id in one.citations]
                for claim in claims
            }
            facts: dict[str, Any] = {
                "paper": found,
                "passages": passages[:_PASSAGES],
                "more": max(0, len(passages) - _PASSAGES),
            }
            facts |= {"fared": told, "citing": citing}
            return desk.page(request, "paper.html", view, facts)

    return router
