"""What every page is made with: what is read, the templates, the pass, and how a template becomes an answer."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from notebook_store.errors import NotebookError
from swarm.errors import SwarmError
from swarm.view import View
from swarm.web.guard import Pass
from swarm.web.overview import PARTS, overview
from swarm.web.pages import environment
from swarm.web.progress import BY
from swarm.web.reading import Reading


class Desk:
    """Shared by all pages of one server."""

    def __init__(self, reading: Reading, needed: Pass) -> None:
        self.reading = reading
        self.needed = needed
        self.over = asyncio.Event()  # set when the server ends: streams close
        self._environment = environment()

    def warm(self) -> None:
        """Do once what the first page of a server costs: replay the newest session, load what figures need."""
        try:
            with self.reading.view() as view:
                facts = overview(view, self.reading.notebook, BY[0]).facts
                for name in PARTS:
                    self.draw_part(facts, name)
        except (SwarmError, NotebookError):
            return  # the page itself says it to whoever asks for it

    def draw(self, name: str, facts: Mapping[str, Any]) -> str:
        """A template filled in."""
        return self._environment.get_template(name).render(facts)

    def draw_part(self, facts: Mapping[str, Any], name: str) -> str:
        """One part of the first page."""
        return self.draw(f"part_{name}.html", {**facts, "form": self.needed.form})

    def page(
        self, request: Request, name: str, view: View | None, facts: Mapping[str, Any], *, status_code: int = 200
    ) -> HTMLResponse:
        """A whole page from its facts; ``view`` is the session whose links it carries, None where the home has none."""
        about = {
            "path": request.url.path,
            "given": dict(request.query_params),
            "form": self.needed.form,
            "sessions": self.reading.sessions(),
            "session": view.state.session if view is not None else None,
            "metric": view.metric if view is not None else "",
            "home": self.reading.home.root.name,
            "now": view.now if view is not None else 0.0,
        }
        return HTMLResponse(self.draw(name, {**about, **facts}), status_code=status_code)
