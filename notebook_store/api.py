"""The notebook's HTTP API: a small application over any Notebook, to be served by its owner or mounted by another."""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, cast

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from notebook_store.answers import Idea
from notebook_store.entry import Kind
from notebook_store.errors import EntryConflict, InvalidEntry, NotAllowed, NotebookError, UnknownEntry
from notebook_store.log import Column, Filters
from notebook_store.notebook import Notebook
from notebook_store.wire import entry_from, entry_json, hit_json, near_json, related_json, tried_json

STATUS = {UnknownEntry: 404, EntryConflict: 409, InvalidEntry: 422, NotAllowed: 401}

K = Annotated[int, Query(ge=1, le=1000)]


class ClaimAsked(BaseModel):
    """Body of POST /claims; see `Notebook.claim`."""

    key: str
    holder: str
    at: float = Field(allow_inf_nan=False)  # unix seconds


class IdeaAsked(BaseModel):
    """Body of POST /near; see `Notebook.near`."""

    text: str
    changes: dict[str, Any] = {}
    k: int = Field(default=3, ge=1, le=1000)


def filters_of(
    *,
    kind: Annotated[list[str] | None, Query()] = None,
    author: str | None = None,
    session: str | None = None,
    task: str | None = None,
    experiment: str | None = None,
    factor: str | None = None,
    outcome: str | None = None,
    since: float | None = None,
    until: float | None = None,
) -> Filters:
    """Filters as query parameters; `kind` may be given several times, and empty to mean none at all."""
    kinds = None if kind is None else [one for one in kind if one]
    if strange := set(kinds or ()) - set(Kind):
        raise InvalidEntry(f"no kind '{min(strange)}'; there are: {', '.join(Kind)}")
    given: dict[str, Any] = {
        "kinds": kinds,
        "author": author,
        "session": session,
        "task": task,
        "experiment": experiment,
        "factor": factor,
        "outcome": outcome,
        "since": since,
        "until": until,
    }
    return cast("Filters", {name: value for name, value in given.items() if value is not None})


Asked = Annotated[Filters, Depends(filters_of)]


def create_app(notebook: Notebook, token: str) -> FastAPI:
    """The API over a notebook; every request bears `Authorization: Bearer <token>`."""

    def allowed(request: Request) -> None:
        given = request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise NotAllowed("the notebook's token is missing or wrong; it is in the file `token` beside the notebook")

    app = FastAPI(title="Nightswarm notebook", dependencies=[Depends(allowed)], openapi_url=None)
    app.add_exception_handler(NotebookError, _told)
    _add_reading(app, notebook)
    _add_finding(app, notebook)
    _add_writing(app, notebook)
    return app


def _add_reading(app: FastAPI, notebook: Notebook) -> None:
    @app.get("/")
    def about() -> dict[str, Any]:
        return {
            "notebook": notebook.identity(),
            "pid": os.getpid(),
            "entries": notebook.count(),
            "notices": notebook.notices(),
        }

    @app.get("/entries")
    def entries(filters: Asked, limit: Annotated[int | None, Query(ge=1)] = None) -> list[dict[str, Any]]:
        return [entry_json(entry) for entry in notebook.entries(limit=limit, **filters)]

    @app.get("/stream")
    def stream(filters: Asked) -> StreamingResponse:
        lines = (json.dumps(entry_json(entry)) + "\n" for entry in notebook.stream(**filters))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    @app.get("/count")
    def count(filters: Asked) -> int:
        return notebook.count(**filters)

    @app.get("/tally")
    def tally(column: Column, filters: Asked) -> dict[str, int]:
        return notebook.tally(column, **filters)

    # Ids may hold any character, hence parameters and not paths.
    @app.get("/entry")
    def entry(id: str) -> dict[str, Any]:  # noqa: A002 - the parameter's name is the API's
        return entry_json(notebook.get(id))

    @app.get("/links")
    def links(id: str) -> list[dict[str, Any]]:  # noqa: A002 - as above
        return [related_json(related) for related in notebook.links_to(id)]

    @app.get("/tried")
    def tried(id: str) -> list[dict[str, Any]]:  # noqa: A002 - as above
        return [tried_json(one) for one in notebook.tried(id)]

    @app.get("/grounds")
    def grounds(id: str) -> list[dict[str, Any]]:  # noqa: A002 - as above
        return [related_json(related) for related in notebook.grounds(id)]


def _add_finding(app: FastAPI, notebook: Notebook) -> None:
    @app.get("/search")
    def search(filters: Asked, q: str, k: K = 10) -> list[dict[str, Any]]:
        return [hit_json(hit) for hit in notebook.search(q, k, **filters)]

    @app.get("/like")
    def like(filters: Asked, id: str, k: K = 10) -> list[dict[str, Any]]:  # noqa: A002 - as above
        return [hit_json(hit) for hit in notebook.like(id, k, **filters)]

    @app.post("/near")
    def near(idea: IdeaAsked) -> list[dict[str, Any]]:
        found = notebook.near(Idea(text=idea.text, changes=idea.changes), idea.k)
        return [near_json(one) for one in found]


def _add_writing(app: FastAPI, notebook: Notebook) -> None:
    @app.post("/entries")
    def extend(entries: list[dict[str, Any]]) -> list[bool]:
        return notebook.extend([entry_from(entry) for entry in entries])

    @app.post("/claims")
    def claim(asked: ClaimAsked) -> Mapping[str, Any]:
        return asdict(notebook.claim(asked.key, asked.holder, at=asked.at))

    @app.post("/flush")
    def flush() -> None:
        notebook.flush()

    @app.get("/check")
    def check() -> Mapping[str, Any]:
        return asdict(notebook.check())


def _told(_: Request, error: Exception) -> JSONResponse:
    status = STATUS.get(type(error), 500)  # type: ignore[arg-type]  # registered for NotebookError alone
    return JSONResponse({"error": type(error).__name__, "message": str(error)}, status_code=status)
