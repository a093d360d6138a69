"""Search/replace edits of the editable file. Pure."""

from collections.abc import Sequence

from swarm.errors import InputError


def apply_edits(source: str, edits: Sequence[tuple[str, str]]) -> str:
    """``source`` with every (search, replace) done in order.

    Raises InputError, naming the edit, where its text does not stand there exactly once.
    """
    for number, (search, replace) in enumerate(edits, 1):
        found = source.count(search) if search else 0
        if found != 1:
            line = search.strip().splitlines()[0][:80] if search.strip() else "an empty text"
            told = "is not in the file" if not found else f"stands {found} times in the file; take in more lines"
            raise InputError(f"edit {number}: its search text {told}: {line!r}")
        source = source.replace(search, replace)
    return source


def compiles(source: str) -> str | None:
    """Why a file does not compile, in one line; None when it does."""
    try:
        compile(source, "candidate", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return f"the edited file does not compile: {error}"
    return None
