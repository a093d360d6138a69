"""The pages, put together: routes, static files, refusals in words."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from notebook_store.errors import NotebookError, UnknownEntry
from swarm.errors import InputError, SwarmError
from swarm.web.acting import acts
from swarm.web.desk import Desk
from swarm.web.experiment_pages import experiment_pages
from swarm.web.guard import Guard, Pass
from swarm.web.notebook_pages import notebook_pages
from swarm.web.paper_pages import paper_pages
from swarm.web.reading import Reading
from swarm.web.session_pages import session_pages

STATIC = Path(__file__).with_name("static")


def make_app(reading: Reading, needed: Pass) -> tuple[Guard, Desk]:
    """The application, and the desk whose ``over`` ends its streams."""

    desk = Desk(reading, needed)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.include_router(session_pages(desk))
    app.include_router(experiment_pages(desk))
    app.include_router(notebook_pages(desk))
    app.include_router(paper_pages(desk))
    app.include_router(acts(desk))

    async def told(request: Request, error: Exception) -> HTMLResponse:
        """A refusal as a page: what is wrong and what to do."""
        if isinstance(error, HTTPException):
            words, status = "there is no such page", error.status_code
        elif isinstance(error, RequestValidationError):
            words, status = "the address asks for something that cannot be; go back, or to the overview", 422
        else:
            lacks = isinstance(error, UnknownEntry) or (isinstance(error, InputError) and request.method == "GET")
            words, status = str(error), 404 if lacks else 409
        return desk.page(request, "refused.html", None, {"words": words, "status": status}, status_code=status)

    for kind in (SwarmError, NotebookError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, told)
    return Guard(app, needed), desk
