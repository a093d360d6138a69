"""What changed on the first page since it was last looked at, as server-sent events."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from swarm.web.drawing import Picture
from swarm.web.overview import PARTS, Overview, glance, heard, overview
from swarm.web.reading import Reading

LOOK_SECONDS = 1.0  # between two looks
_QUIET_SECONDS = 15.0  # after which a line without news keeps the connection open
_ANEW = 40  # marks that changed at once, from which a picture is sent whole

Parts = Mapping[str, str]  # element -> its inside
Changes = dict[str, dict[str, str]]  # "put", "add" or "swap" -> element -> markup


class Watcher:
    """One page's knowledge of a session; ``look`` tells what it lacks. Used from one thread at a time."""

    def __init__(self, reading: Reading, session: str, by: str, draw: Callable[[Mapping[str, Any], str], str]) -> None:
        """``draw`` renders one part of the overview from its facts."""
        self._reading = reading
        self._session = session
        self._by = by
        self._draw = draw
        self._key = ""
        self._parts: Parts = {}
        self._pictures: dict[str, Picture] = {}

    def know(self, key: str) -> None:
        """Begin from the page that was drawn when the session stood at ``key``; nothing is sent if it still does."""
        with self._reading.view(self._session) as view:
            if glance(view, view.status()) == key:
                self._keep(overview(view, self._reading.notebook, self._by))

    def look(self) -> Changes | None:
        """What to change on the page; None when nothing is."""
        with self._reading.view(self._session) as view:
            status = view.status()
            if glance(view, status) == self._key:
                return self._listen(heard(view, status))
            parts, pictures = self._parts, self._pictures
            self._keep(overview(view, self._reading.notebook, self._by))
        put = {name: inside for name, inside in self._parts.items() if parts.get(name) != inside}
        changes: Changes = {"put": put, "add": {}, "swap": {}}
        for name, picture in self._pictures.items():
            _compare(pictures.get(name), picture, changes)
        return changes if any(changes.values()) else None

    def _listen(self, facts: Mapping[str, Any]) -> Changes | None:
        """Only what is being said may have changed: it is drawn alone, many times a minute."""
        inside = self._draw(facts, "voices")
        if inside == self._parts.get("voices"):
            return None
        self._parts = {**self._parts, "voices": inside}
        return {"put": {"voices": inside}, "add": {}, "swap": {}}

    def _keep(self, seen: Overview) -> None:
        self._key = seen.key
        self._parts = {name: self._draw(seen.facts, name) for name in PARTS}
        self._pictures = {picture.name: picture for picture in seen.pictures}


def _compare(old: Picture | None, new: Picture, changes: Changes) -> None:
    """Add to ``changes`` what makes the old picture the new one."""
    if old is None:
        changes["put"][new.name] = new.svg
        return
    added = [markup for name, markup in new.marks.items() if name not in old.marks]
    moved = {name: markup for name, markup in new.marks.items() if name in old.marks and old.marks[name] != markup}
    gone = old.marks.keys() - new.marks.keys()
    same_sheet = (old.width, old.height, old.under) == (new.width, new.height, new.under)
    if gone or not same_sheet or len(added) + len(moved) > _ANEW:
        changes["put"][new.name] = new.svg
        return
    if old.frame != new.frame:
        changes["put"][f"{new.name}-frame"] = new.frame
    if added:
        changes["add"][f"{new.name}-marks"] = "".join(added)
    changes["swap"] |= moved


async def stream(watcher: Watcher, key: str, over: asyncio.Event) -> AsyncIterator[str]:
    """Server-sent events until ``over`` is set or the reader goes away."""
    await asyncio.to_thread(watcher.know, key)
    yield "retry: 2000\n\n"
    told = time.monotonic()
    while not over.is_set():
        changes = await asyncio.to_thread(watcher.look)
        if changes is not None:
            yield f"data: {json.dumps(changes)}\n\n"
            told = time.monotonic()
        elif time.monotonic() - told > _QUIET_SECONDS:
            yield ": nothing new\n\n"
            told = time.monotonic()
        try:
            await asyncio.wait_for(over.wait(), LOOK_SECONDS)
        except TimeoutError:
            continue
