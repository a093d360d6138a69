"""The options by which the notebook's commands choose entries, each defined once."""

import inspect
from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from notebook_store.log import Filters

OfKind = Annotated[
    list[str] | None, typer.Option("--kind", metavar="KIND", help="hypothesis, result, insight, ...; may be repeated.")
]
InSession = Annotated[str | None, typer.Option("--session", metavar="S", help="Of this session only.")]


def filters_of(
    *,
    kind: OfKind = None,
    author: Annotated[str | None, typer.Option(metavar="A", help="Written by this role or person.")] = None,
    session: InSession = None,
    task: Annotated[str | None, typer.Option(metavar="T", help="About this task only.")] = None,
    factor: Annotated[str | None, typer.Option(metavar="F", help="On this constant.")] = None,
    outcome: Annotated[str | None, typer.Option(metavar="O", help="With this outcome.")] = None,
    since: Annotated[str | None, typer.Option(metavar="T", help="Not before, such as 2026-11-24T08:00.")] = None,
    until: Annotated[str | None, typer.Option(metavar="T", help="Before, in the same form.")] = None,
) -> "Filters":
    """What the options ask for. Raises InputError for a kind or a time that is none."""
    from notebook_store.entry import Kind
    from notebook_store.log import Filters
    from swarm.errors import InputError

    filters = Filters()
    if kind:
        strange = [one for one in kind if one not in list(Kind)]
        if strange:
            raise InputError(f"no kind '{strange[0]}'; there are: {', '.join(Kind)}")
        filters["kinds"] = [Kind(one) for one in kind]
    named = {"author": author, "session": session, "task": task, "factor": factor, "outcome": outcome}
    for name, value in named.items():
        if value is not None:
            filters[name] = value  # type: ignore[literal-required]  # the keys are names of Filters
    if since is not None:
        filters["since"] = _moment(since)
    if until is not None:
        filters["until"] = _moment(until)
    return filters


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all these options in the place of its parameter ``filters``, which gets what they ask for."""
    options = inspect.signature(filters_of).parameters
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for own in inspect.signature(command).parameters.values()
        for parameter in (options.values() if own.name == "filters" else [own])
    ]

    @wraps(command, assigned=("__module__", "__name__", "__doc__"), updated=())
    def chosen(**given: Any) -> None:
        asked = {name: given.pop(name) for name in options}
        command(**given, filters=filters_of(**asked))

    chosen.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    chosen.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what Typer reads
    return chosen


def _moment(text: str) -> float:
    """Local time, as unix seconds."""
    from swarm.errors import InputError

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise InputError(f"'{text}' is no time; write it as 2026-11-24 or 2026-11-24T08:00") from None
