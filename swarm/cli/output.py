"""How commands print: JSON for scripts, aligned columns for people. Nothing printed is read as markup."""

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from swarm.wording import plain


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
