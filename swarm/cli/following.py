"""Runs a session, or looks on, and shows it as it happens: a dashboard in a terminal, log lines anywhere else."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Literal

from swarm.assemble.choice import StartRequest
from swarm.assemble.pages import companion
from swarm.assemble.session import opened_session
from swarm.cli.closing import print_closing
from swarm.cli.screen import JsonScreen, LiveScreen, LogScreen, Screen, print_event
from swarm.home import Home
from swarm.session import Session
from swarm.view import View

Shown = Literal["live", "plain", "json"]  # how a session is shown; without a terminal "live" is "plain"
LOOK_SECONDS = 0.5  # between two looks at the ledger


async def run_session(
    home: Home, request: StartRequest, *, shown: Shown, web: bool, begun: Callable[[Path], None]
) -> None:
    """Start or resume a session, show it until it ends, and print the result; ``web``: with the pages beside it.

    ``begun`` is told the session's folder before its first event is shown.
    """
    notice = alone = notice_of(shown)

    def say(line: str) -> None:
        """What no event on record tells: to the screen while there is one."""
        notice(line)

    async with opened_session(home, request, say) as session:
        with View(home, session.state.session, phase=lambda: session.phase) as view:
            begun(home.session(session.state.session))
            told = session.state.seq if session.state.runs else 0  # earlier runs were shown when they happened
            with screen_of(view, shown, after=told) as screen, companion(home) if web else nullcontext() as pages:
                notice = screen.notice
                try:
                    if pages is not None:
                        say(f"pages at {pages}")
                    async with _signals(session, say):
                        working = asyncio.create_task(session.run())
                        await _follow(screen, working.done)
                        await working
                finally:
                    notice = alone
            if shown == "json":
                print_event("summary", view.now, view.refresh().status())
            else:
                print_closing(view)


async def watch_session(view: View, *, shown: Shown) -> None:
    """Show a session that another process works on, until it ends."""
    with screen_of(view, shown) as screen:
        await _follow(screen, lambda: not view.live)


def screen_of(view: View, shown: Shown, *, after: int = 0) -> Screen:
    """Where a session is shown; log lines leave out the events up to number ``after``."""
    if shown == "json":
        return JsonScreen(view, after=after)
    return LogScreen(view, after=after) if shown == "plain" or not sys.stdout.isatty() else LiveScreen(view)


def notice_of(shown: Shown) -> Callable[[str], None]:
    """Prints a line for a person where there is no screen, as the log for programs does where one is kept."""
    if shown == "json":
        return lambda line: print_event("notice", time.time(), {"text": line})
    return lambda line: print(line, flush=True)


async def _follow(screen: Screen, over: Callable[[], bool]) -> None:
    """Show what is new, until it is over and all of it was shown."""
    await asyncio.to_thread(screen.show)
    while True:
        last = over()
        await asyncio.to_thread(screen.show)
        if last:
            return
        await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def _signals(session: Session, notice: Callable[[str], None]) -> AsyncIterator[None]:
    """The first Ctrl-C or SIGTERM drains the session, a second Ctrl-C ends its trials too, a third is Python's own."""
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []
    interrupts = 0

    def interrupt() -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts == 1:
            session.drain("stopped by Ctrl-C")
            notice("stopping: running trials finish first; Ctrl-C again to end them now")
        else:
            loop.remove_signal_handler(signal.SIGINT)
            stopping.append(asyncio.create_task(session.stop_now("stopped by Ctrl-C")))
            notice("stopping now: running trials are ended; they run again when the session is resumed")

    def terminate() -> None:
        session.drain("stopped by SIGTERM")
        notice("stopping (SIGTERM): running trials finish first")

    loop.add_signal_handler(signal.SIGINT, interrupt)
    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        yield
        await asyncio.gather(*stopping)
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
