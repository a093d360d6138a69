"""How commands print: JSON for scripts, aligned columns for people. Nothing printed is read as markup."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from swarm.wording import plain

PIPE_COLUMNS = 200  # width of a table that goes to a file or a pipe


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, allow_nan=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Columns under their names; what does not fit the terminal is cut. ``empty`` is said when there is no row."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(plain("" if cell is None else str(cell))) for cell in row))
    if not table.row_count:
        print(empty)
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PIPE_COLUMNS)
    console.print(table)


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
