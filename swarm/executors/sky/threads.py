"""Blocking calls beside the event loop, each in a daemon thread of its own.

Not ``asyncio.to_thread``: a job's log is followed for as long as the job lasts, a few such calls would take all of
the loop's shared threads, and one that hangs must not keep the process from ending.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def beside(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``call`` in a thread of its own. Who gives up waiting leaves it running."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)  # type: ignore[arg-type]  # T may itself be None

    def work() -> None:
        value, error = None, None
        try:
            value = call(*args, **kwargs)
        except BaseException as caught:  # noqa: BLE001 - it is raised where the answer is awaited
            error = caught
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=work, name=getattr(call, "__name__", "sky"), daemon=True).start()
    return await answer
