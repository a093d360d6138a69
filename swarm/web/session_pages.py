"""Pages of one session: overview and its stream, experiments, leases, costs; two sessions side by side."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from swarm.errors import InputError
from swarm.web.compare import beside, side_by_side
from swarm.web.desk import Desk
from swarm.web.live import Watcher, stream
from swarm.web.overview import TIERS, overview
from swarm.web.progress import BY
from swarm.web.tables import costs
from swarm.web.timeline import timeline


def session_pages(desk: Desk) -> APIRouter:
    """The routes."""
    router = APIRouter()
    reading = desk.reading

    @router.get("/")
    def newest(request: Request) -> Response:
        sessions = reading.sessions()
        if not sessions:
            return desk.page(request, "empty.html", None, {})
        return RedirectResponse(f"/s/{sessions[0]}", status_code=307)

    @router.get("/session")
    def chosen(session: str) -> Response:
        with reading.view(session) as view:
            return RedirectResponse(f"/s/{view.state.session}", status_code=303)

    @router.get("/s/{session}")
    def first_page(request: Request, session: str, by: str = BY[0]) -> HTMLResponse:
        by = by if by in BY else BY[0]
        with reading.view(session) as view:
            seen = overview(view, reading.notebook, by)
            facts = {**seen.facts, "by": by, "key": seen.key, "tiers": TIERS}
            facts["pictures"] = {picture.name: picture for picture in seen.pictures}
            return desk.page(request, "overview.html", view, facts)

    @router.get("/s/{session}/live")
    async def live(session: str, by: str = BY[0], key: str = "") -> StreamingResponse:
        if session not in reading.sessions():
            raise InputError(f"no session '{session}'")
        watcher = Watcher(reading, session, by if by in BY else BY[0], desk.draw_part)
        return StreamingResponse(stream(watcher, key, desk.over), media_type="text/event-stream")

    @router.get("/s/{session}/leases")
    def leases(request: Request, session: str) -> HTMLResponse:
        with reading.view(session) as view:
            slots = view.slots()
            picture = timeline(view, slots, seconds=None) if view.state.experiments else None
            facts = overview(view, reading.notebook, BY[0]).facts
            return desk.page(
                request, "leases.html", view, facts | {"states": slots, "queue": view.queue(), "pic": picture}
            )

    @router.get("/s/{session}/costs")
    def spent(request: Request, session: str) -> HTMLResponse:
        with reading.view(session) as view:
            facts = overview(view, reading.notebook, BY[0]).facts
            uses = view.use()
            return desk.page(request, "costs.html", view, facts | {"groups": costs(view), "uses": uses})

    @router.get("/compare")
    def compare(request: Request, a: str = "", b: str = "") -> HTMLResponse:
        sessions = reading.sessions()
        first = a or sessions[0]
        second = b or next((name for name in sessions if name != first), first)
        with reading.view(first) as view:
            left = beside(view)
        with reading.view(second) as view:
            right = beside(view)
            facts: dict[str, Any] = {"left": left, "right": right, "pic": side_by_side(left, right)}
            return desk.page(request, "compare.html", view, facts)

    return router
