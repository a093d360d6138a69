"""The parts of the editable file, by its syntax tree: which were ever changed, and which never. Pure."""

import ast
from collections.abc import Iterator

CONSTANTS = "constants"  # everything at the top that is no function or class


def parts(source: str) -> dict[str, str]:
    """Part -> what it says, without layout and comments: functions, methods as "Class.method", a class's own lines.

    A file that does not parse has no parts.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    for name, node in _parts(tree.body, ""):
        found[name] = found.get(name, "") + ast.dump(node)
    return found


def _parts(body: list[ast.stmt], owner: str) -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _parts(node.body, f"{owner}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{owner}{node.name}", node
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            yield owner.rstrip(".") or CONSTANTS, node


def changed_parts(before: str, after: str) -> set[str]:
    """Parts that were changed, came or went."""
    a, b = parts(before), parts(after)
    return {name for name in a.keys() | b.keys() if a.get(name) != b.get(name)}
