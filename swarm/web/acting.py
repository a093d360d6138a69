"""What a person does in the pages: write a note, pause, resume, stop, say yes or no; the commands do the same."""

import os
import time
import uuid
from contextlib import closing
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Form
from fastapi.responses import RedirectResponse

from notebook_store.entry import Entry, Kind, Link, Relation
from swarm.errors import InputError
from swarm.research.ledger import Ledger
from swarm.research.rulings import Ruling, held
from swarm.web.desk import Desk
from swarm.web.reading import Reading

WISHES = ("pause", "resume", "stop", "stop-now")
_NOTE, _REASON = 100_000, 500  # characters


def acts(desk: Desk) -> APIRouter:
    """The routes. Guard has seen to it that the request comes from a page of one origin with us."""
    router = APIRouter(prefix="/act")
    reading = desk.reading

    def ours(form: Annotated[str, Form()]) -> None:
        if not desk.needed.form_is_ours(form):
            raise InputError("this page is older than the server; go back, reload it and try again")

    @router.post("/note")
    def note(
        form: Annotated[str, Form()],
        text: Annotated[str, Form(max_length=_NOTE)],
        session: Annotated[str, Form()] = "",
        about: Annotated[str, Form()] = "",
    ) -> RedirectResponse:
        ours(form)
        entry = write_note(reading, text, session=session, about=about, author=_person())
        return RedirectResponse(f"/notebook/{quote(entry.id, safe='')}", status_code=303)

    @router.post("/wish")
    def wish(
        form: Annotated[str, Form()], session: Annotated[str, Form()], wish: Annotated[str, Form()]
    ) -> RedirectResponse:
        ours(form)
        if wish not in WISHES:
            raise InputError(f"no wish '{wish}'; there are: {', '.join(WISHES)}")
        with reading.view(session) as view:
            if not view.live:
                raise InputError(f"session {session} is not running; `swarm start --session {session}` resumes it")
        _leave(session, wish)
        return RedirectResponse(f"/s/{quote(session)}", status_code=303)

    @router.post("/ruling")
    def ruling(
        form: Annotated[str, Form()],
        experiment: Annotated[str, Form()],
        word: Annotated[str, Form(pattern="^(approve|reject)$")],
        reason: Annotated[str, Form(max_length=_REASON)] = "",
    ) -> RedirectResponse:
        ours(form)
        session = experiment.rpartition("-e")[0]
        with reading.view(session) as view:
            one = held(view.state, [experiment])[0]
        said = Ruling(experiment=one.id, yes=word == "approve", by=_person(), reason=reason.strip())
        _leave(session, said.wish)
        return RedirectResponse(f"/s/{quote(session)}", status_code=303)

    def _leave(session: str, wish: str) -> None:
        with closing(Ledger(reading.home.ledger)) as ledger:
            ledger.wish(session, wish, time.time())

    return router


def write_note(reading: Reading, text: str, *, session: str, about: str, author: str) -> Entry:
    """Append a note to the notebook. Raises InputError when it says nothing or there is no notebook."""
    if not text.strip():
        raise InputError("an empty note says nothing; write something")
    notebook = reading.notebook
    if notebook is None:
        raise InputError("the notebook is still empty; begin with `swarm start`")
    entry = Entry(
        id=f"note-{uuid.uuid4().hex[:12]}",
        kind=Kind.NOTE,
        title=text.strip().splitlines()[0][:160],
        body=text,
        author=author,
        session=session if session in reading.sessions() else "",
        task="",
        created_at=time.time(),
        links=(Link(kind=Relation.CITES, target=about),) if about else (),
    )
    notebook.append(entry)
    return entry


def _person() -> str:
    """Who acts: the one who runs the server."""
    return os.environ.get("USER") or "human"
