"""The notebook through its owner's HTTP API."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

import httpx

from notebook_store import errors
from notebook_store.answers import Claim, Hit, Idea, Near, Report, Tried
from notebook_store.entry import Entry, Kind, Relation
from notebook_store.log import Column, Filters
from notebook_store.notebook import Notebook
from notebook_store.wire import claim_from, entry_from, entry_json, hit_from, near_from, related_from, report_from
from notebook_store.wire import tried_from as tried_of

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 60.0  # flush and check wait for ever


class RemoteNotebook(Notebook):
    """See `Notebook.connect`."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        headers = {"authorization": f"Bearer {token}"}
        try:
            # An owner on this machine is not behind a proxy, and another's address was given as it is.
            self._client = httpx.Client(base_url=self._url, headers=headers, timeout=timeout, trust_env=False)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise errors.NotServed(f"{url} is no address ({error}); give one such as http://127.0.0.1:8765") from error
        try:
            self._get("/")
        except BaseException:
            self._client.close()
            raise

    def extend(self, entries: Sequence[Entry]) -> list[bool]:
        return [bool(new) for new in self._post("/entries", [entry_json(entry) for entry in entries])]

    def claim(self, key: str, holder: str, *, at: float) -> Claim:
        return claim_from(self._post("/claims", {"key": key, "holder": holder, "at": at}))

    def near(self, idea: Idea, k: int = 3) -> list[Near]:
        found = self._post("/near", {"text": idea.text, "changes": dict(idea.changes), "k": k})
        return [near_from(one) for one in found]

    def get(self, entry_id: str) -> Entry:
        return entry_from(self._get("/entry", id=entry_id))

    def entries(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> list[Entry]:
        more = {} if limit is None else {"limit": limit}
        return [entry_from(one) for one in self._get("/entries", **more, **_asked(filters))]

    def stream(self, **filters: Unpack[Filters]) -> Iterator[Entry]:
        with self._answering(), self._client.stream("GET", "/stream", params=_asked(filters)) as answer:
            if not answer.is_success:
                answer.read()
                self._told(answer, "/stream")
            for line in answer.iter_lines():
                yield entry_from(json.loads(line))

    def count(self, **filters: Unpack[Filters]) -> int:
        return int(self._get("/count", **_asked(filters)))

    def tally(self, column: Column, **filters: Unpack[Filters]) -> dict[str, int]:
        return dict(self._get("/tally", column=column, **_asked(filters)))

    def links_to(self, entry_id: str) -> list[tuple[Relation, Entry]]:
        return [related_from(one) for one in self._get("/links", id=entry_id)]

    def tried(self, entry_id: str) -> list[Tried]:
        return [tried_of(one) for one in self._get("/tried", id=entry_id)]

    def grounds(self, entry_id: str) -> list[tuple[Relation, Entry]]:
        return [related_from(one) for one in self._get("/grounds", id=entry_id)]

    def search(self, query: str, k: int = 10, **filters: Unpack[Filters]) -> list[Hit]:
        return [hit_from(one) for one in self._get("/search", q=query, k=k, **_asked(filters))]

    def like(self, entry_id: str, k: int = 10, **filters: Unpack[Filters]) -> list[Hit]:
        return [hit_from(one) for one in self._get("/like", id=entry_id, k=k, **_asked(filters))]

    def identity(self) -> str:
        return str(self._get("/")["notebook"])

    def notices(self) -> list[str]:
        return [str(notice) for notice in self._get("/")["notices"]]

    def flush(self) -> None:
        self._asked("POST", "/flush", timeout=None)

    def check(self) -> Report:
        return report_from(self._asked("GET", "/check", timeout=None))

    def close(self) -> None:
        self._client.close()

    def _get(self, path: str, **parameters: Any) -> Any:
        return self._asked("GET", path, params=parameters)

    def _post(self, path: str, body: Any) -> Any:
        return self._asked("POST", path, json=body)

    def _asked(self, method: str, path: str, **more: Any) -> Any:
        with self._answering():
            return self._told(self._client.request(method, path, **more), path)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise errors.NotServed(
                f"no notebook answers at {self._url} ({error or type(error).__name__}); "
                "see that its owner runs, or leave the address out"
            ) from error

    def _told(self, answer: httpx.Response, path: str) -> Any:
        """What an answer says; raises what went wrong at the owner."""
        try:
            told = answer.json()
        except json.JSONDecodeError as error:
            raise errors.NotServed(f"what answers at {self._url} is no notebook; check the address") from error
        if answer.is_success:
            return told
        kind = getattr(errors, told.get("error", ""), None) if isinstance(told, dict) else None
        if isinstance(kind, type) and issubclass(kind, errors.NotebookError) and kind is not errors.FolderOwned:
            raise kind(told["message"])
        raise errors.NotServed(f"{self._url} answered {answer.status_code} to {path}: {answer.text[:200]}")


def _asked(filters: Filters) -> dict[str, Any]:
    """Filters as query parameters."""
    asked: dict[str, Any] = dict(filters)
    if (kinds := asked.pop("kinds", None)) is not None:
        asked["kind"] = [Kind(kind).value for kind in kinds] or [""]
    return asked
