"""Ways to show a session as it happens: a dashboard that is redrawn, log lines for people, and for programs."""

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live

from swarm.dashboard import dashboard
from swarm.narrator import Narrator
from swarm.view import View


class Screen(Protocol):
    """Where a session is shown. ``show`` reads what is new and may block for milliseconds."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self) -> None: ...
    def notice(self, line: str) -> None:
        """Something a person must know at once."""
        ...


class LogScreen:
    """One line an event, from the first after number ``after``."""

    def __init__(self, view: View, *, after: int) -> None:
        self._view = view
        self._after = after
        self._narrator = Narrator(view)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self) -> None:
        for event in self._view.news():
            lines = self._narrator.tell(event)
            self._print(lines if event.seq > self._after else [])
        self._print(self._narrator.tick(self._view.now))

    def notice(self, line: str) -> None:
        self._print([self._narrator.stamped(self._view.now, line)])

    def _print(self, lines: list[str]) -> None:
        for line in lines:
            print(line, flush=True)


class JsonScreen:
    """One JSON object a line, for programs that read logs, from the first event after number ``after``."""

    def __init__(self, view: View, *, after: int) -> None:
        self._view = view
        self._after = after

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self) -> None:
        for event in self._view.news():
            if event.seq <= self._after:
                continue
            told = {"key": event.key, "experiment": event.experiment, "data": dict(event.data)}
            print_event(event.kind, event.at, {"session": event.session, "seq": event.seq, **told})

    def notice(self, line: str) -> None:
        print_event("notice", self._view.now, {"text": line})


def print_event(kind: str, at: float, told: Mapping[str, object]) -> None:
    """One line of a log for programs; ``at`` in unix seconds."""
    print(json.dumps({"at": at, "kind": kind, **told}, allow_nan=False), flush=True)


class LiveScreen:
    """The dashboard, redrawn in place; it is gone when the session is over."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._notice = ""
        self._live = Live(console=Console(highlight=False), auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self) -> None:
        self._live.update(dashboard(self._view.refresh(), notice=self._notice), refresh=True)

    def notice(self, line: str) -> None:
        self._notice = line
