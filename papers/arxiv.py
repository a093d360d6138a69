"""arXiv's API: queries in, Atom files out, kept for a day and asked for as politely as arXiv wants it.

The protocol and the pause between requests are those of the arXiv API User's Manual and its terms of use
(info.arxiv.org/help/api).
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from papers import formats
from papers.record import Record, Refusal

URL = "https://export.arxiv.org/api/query"
PAUSE = 3.0  # seconds between two requests, as arXiv's terms ask
TRIES = 5  # of one request
LONGEST_WAIT = 120.0  # seconds; a server that asks for more is not waited for
KEPT = 24 * 3600.0  # seconds that an answer is used again; arXiv adds papers once a day
PAGE = 100  # papers a request
TIMEOUT = 30.0  # seconds without an answer
_MOST_BYTES = 32 * 1024 * 1024  # of one answer; a page of 100 has 0.3 MB
_FIELD = re.compile(r"\b(?:ti|au|abs|co|jr|cat|rn|id|all):")
_TOTAL = re.compile(rb"<opensearch:totalResults[^>]*>\s*(\d+)")
_BUSY = (429, 500, 502, 503, 504)


class ArxivError(Exception):
    """arXiv cannot be reached, or does not answer the query; the message is one line with the remedy."""


class Arxiv:
    """A client with a cache.

    Args:
        cache: folder of the answers, one Atom file for each request.
        url: of the API; another one serves a mirror or a test.
        wait: spends so many seconds.
        tell: is told, in one line, what is waited for.
    """

    def __init__(
        self,
        cache: Path,
        *,
        url: str = URL,
        wait: Callable[[float], None] = time.sleep,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        if not url.startswith(("https://", "http://")):
            raise ArxivError(f"{url!r} is no address of a server; it must begin with https:// or http://")
        self._cache = cache
        self._url = url
        self._wait = wait
        self._tell = tell
        self._asked = False  # whether a request was made, so that the next one is polite

    def fetch(self, query: str, limit: int) -> list[Path]:
        """The Atom files that hold the papers most relevant to a query, at most `limit`. Raises ArxivError."""
        files: list[Path] = []
        for start in range(0, limit, PAGE):
            size = min(PAGE, limit - start)
            file = self._page(query, start, size)
            files.append(file)
            if start + size >= _total(file.read_bytes()):
                break
        return files

    def _page(self, query: str, start: int, size: int) -> Path:
        terms = {"search_query": search_query(query), "start": start, "max_results": size, "sortBy": "relevance"}
        address = f"{self._url}?{urllib.parse.urlencode(terms)}"
        file = self._cache / f"{hashlib.sha256(address.encode()).hexdigest()[:24]}.atom"
        if file.exists() and time.time() - file.stat().st_mtime < KEPT:
            return file
        answer = self._ask(address, start)
        self._cache.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{os.getpid()}")
        part.write_bytes(answer)
        faults = [found for found in formats.read(part) if isinstance(found, Refusal)]
        if faults and not any(isinstance(found, Record) for found in formats.read(part)):
            part.unlink()
            raise ArxivError(faults[0].reason)
        part.replace(file)
        return file

    def _ask(self, address: str, start: int) -> bytes:
        """The answer to one request, tried again while arXiv is busy or answers half."""
        pause, why = PAUSE if self._asked else 0.0, ""
        for attempt in range(TRIES):
            if why:
                self._tell(f"{why}; trying again in {pause:.0f} s")
            if pause:
                self._wait(pause)
            self._asked = True
            pause = PAUSE * 2.0**attempt
            request = urllib.request.Request(address, headers={"User-Agent": "nightswarm (papers fetch)"})  # noqa: S310  # http or https: see __init__
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310  # as above
                    answer: bytes = response.read(_MOST_BYTES)
            except urllib.error.HTTPError as error:
                if error.code not in _BUSY:
                    raise ArxivError(f"arXiv answered {error.code} {error.reason}; check the query") from error
                why, pause = f"arXiv is busy ({error.code})", max(pause, _retry_after(error.headers.get("Retry-After")))
                if pause > LONGEST_WAIT:
                    raise ArxivError(f"{why} and asks to come back in {pause:.0f} s; do so") from error
            except (TimeoutError, http.client.HTTPException, ConnectionResetError) as error:
                why = f"arXiv broke off ({error or type(error).__name__})"
            except OSError as error:  # of which URLError is one
                raise ArxivError(
                    f"arXiv cannot be reached ({getattr(error, 'reason', None) or error}); this needs the network: try "
                    "again online, or download papers elsewhere and `swarm papers add` them"
                ) from error
            else:
                if b"</feed>" in answer[-200:] and (b"<entry>" in answer or _total(answer) <= start):
                    return answer
                why = "arXiv sent half an answer"
        raise ArxivError(f"{why}, {TRIES} times in a row; try again later")


def search_query(query: str) -> str:
    """A query in arXiv's language: one that names fields (`au:`, `ti:`, `cat:`) as it is, else every word wanted."""
    if _FIELD.search(query):
        return query
    parts = re.findall(r'"[^"]+"|[^\s"]+', query)
    return " AND ".join(f"all:{part}" for part in parts)


def _total(feed: bytes) -> int:
    found = _TOTAL.search(feed)
    return int(found.group(1)) if found else 0


def _retry_after(value: str | None) -> float:
    """Seconds, where the server named them; a date counts as none, since clocks differ."""
    return float(value) if value and value.isdigit() else 0.0
