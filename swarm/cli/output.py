"""How commands print: JSON for scripts, aligned columns for people. Nothing printed is read as markup."""

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from datetime import datetime
from functools import wraps
from typing import Any, ParamSpec

from swarm.wording import plain

P = ParamSpec("P")


class _Held(io.StringIO):
    """Output that is held back for the pager; what is printed to it is as for the terminal."""

    def isatty(self) -> bool:
        return True


def paged(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose output goes through the reader's pager ($PAGER, else less) where it is longer than the terminal.

    Anywhere else, and as JSON, it is printed as it comes.
    """

    @wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> None:
        if options.get("as_json") or not (sys.stdout.isatty() and sys.stdin.isatty()):
            command(*args, **options)
            return
        held = _Held()
        try:
            with redirect_stdout(held):
                command(*args, **options)
        finally:
            _show(held.getvalue())

    return run


def _show(text: str) -> None:
    from click import echo_via_pager, unstyle

    columns, lines = shutil.get_terminal_size()
    if sum(1 + max(0, len(line) - 1) // columns for line in unstyle(text).splitlines()) < lines:
        print(text, end="")
    else:
        echo_via_pager(text)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Columns under their names; a terminal cuts the last one at its edge. ``empty`` is said when there is no row."""
    cells = [[plain("" if cell is None else str(cell)) for cell in row] for row in rows]
    if not cells:
        print(empty)
        return
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)][:-1]
    edge = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in (columns, *cells):
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        line = "  ".join([*padded, row[-1]]).rstrip()
        print(line if edge is None or len(line) <= edge else line[: edge - 1] + "…")


def print_diff(diff: str) -> None:
    """A unified diff, coloured on a terminal."""
    from rich.console import Console
    from rich.text import Text

    from swarm.wording import printable

    diff = printable(diff)
    if not sys.stdout.isatty():
        print(diff, end="")
        return
    styles = {"+": "green", "-": "red", "@": "cyan"}
    console = Console(highlight=False)
    for line in diff.splitlines():
        bold = line.startswith(("+++", "---", "diff "))
        console.print(Text(line, style="bold" if bold else styles.get(line[:1], "")), soft_wrap=True)


def clock_time(at: float) -> str:
    """Unix seconds as local time."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
