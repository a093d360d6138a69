"""The constants on top of the editable file: read, set and compared through its syntax tree. Pure."""

import ast
import hashlib
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from swarm.errors import InputError
from swarm.research.experiment import Knob
from swarm.research.space import rounded
from trainer.contract import Range

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_SEED = re.compile(r"(.*_)?(SEEDS?|RANDOM_STATE)(_.*)?", re.IGNORECASE)
_PLACE = re.compile(r"(.*_)?(PATH|DIR|DIRECTORY|FOLDER|FILE|ROOT|URL)")  # where things are, not what is tried
_MACHINE = re.compile(r"(.*_)?T?FLOPS(_.*)?")  # what the hardware can do, by which a script tells its MFU
_SEEDERS = frozenset({"seed", "manual_seed", "manual_seed_all", "default_rng", "RandomState", "PRNGKey"})
_LINE_END = re.compile(rb"\r\n|\r|\n")
_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}
_LARGEST_POWER = 64  # a larger exponent is no setting but a trap
_NEAR_ONE = 1e-9  # a float closer to 1 is taken for 1: nothing between them can be told apart


def read_knobs(source: str) -> dict[str, Knob]:
    """The knobs of a file: its top-level ALL_CAPS names assigned once, each to a literal.

    A literal is a bool, a text, a number or arithmetic on numbers (``2**19``). Seeds, places (paths, folders) and what
    the hardware can do (FLOPS) are no knobs: they are no part of what is researched. Raises InputError for a file that
    does not parse.
    """
    return {name: spot.value for name, spot in _spots(source).items()}


def set_knobs(source: str, changes: Mapping[str, Knob]) -> str:
    """``source`` with the literals of ``changes`` replaced, and every other byte as it was.

    Raises InputError for a name that is no knob of the file and for a value of another kind.
    """
    spots = _spots(source)
    data = source.encode()
    lines = [0, *(match.end() for match in _LINE_END.finditer(data))]
    edits = []
    for name, value in changes.items():
        if name not in spots:
            known = ", ".join(spots) or "none"
            raise InputError(f"{name} is no constant of the file; its constants are: {known}")
        node = spots[name].node
        start = lines[node.lineno - 1] + node.col_offset
        end = lines[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        edits.append((start, end, _written(_fitted(name, spots[name].value, value)).encode()))
    for start, end, text in sorted(edits, reverse=True):
        data = data[:start] + text + data[end:]
    return data.decode()


def derive_ranges(knobs: Mapping[str, Knob], task_ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Where to search each constant: the task's range where it names one, else one derived from the value.

    Derived: a bool takes both values; an int above 0 a quarter to four times itself (log); a float above 0 a
    tenth to ten times itself (log), a fraction never above 1; a fraction above one half (a momentum, a decay)
    moves its distance to 1 by ten (linear); a float of 0 goes up to 0.3. Texts, negative numbers and whole
    zeros say nothing about their neighbours and are searched only where the task names a range. A named range
    whose constant the file lacks is left out: the incumbent may have lost it.
    """
    derived = {name: _derived(value) for name, value in knobs.items() if name not in task_ranges}
    named = {name: task_ranges[name] for name in knobs if name in task_ranges}
    return {name: found for name in knobs if (found := named.get(name) or derived.get(name))}


def same_but_for_seed(a: str, b: str) -> bool:
    """Whether two files are one but for random seeds, comments, layout, docstrings."""
    try:
        return _seed_blind(a) == _seed_blind(b)
    except (SyntaxError, ValueError):
        return a == b


@lru_cache(maxsize=64)
def _seed_blind(source: str) -> bytes:
    """A digest of a file without its random seeds, comments, layout, docstrings."""
    return hashlib.sha256(ast.dump(_SeedBlind().visit(ast.parse(source))).encode()).digest()


@dataclass(frozen=True, kw_only=True)
class _Spot:
    """Where a constant's literal stands."""

    value: Knob  # what it evaluates to
    node: ast.expr  # the literal


@lru_cache(maxsize=64)  # a parent's file is read again for each of its children
def _spots(source: str) -> Mapping[str, _Spot]:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        raise InputError(f"the editable file does not parse: {error}; correct it first") from error
    found: dict[str, _Spot] = {}
    assigned_twice = set()
    for statement in body:
        name, node = _assignment(statement)
        if name is None or not _NAME.fullmatch(name):
            continue
        if name in found or node is None:
            assigned_twice.add(name)
        elif (value := _literal(node)) is not None and not _is_setting_of_the_run(name, value):
            found[name] = _Spot(value=value, node=node)
    return {name: spot for name, spot in found.items() if name not in assigned_twice}


def _is_setting_of_the_run(name: str, value: Knob) -> bool:
    if isinstance(value, str) and _PLACE.fullmatch(name):
        return True
    return any(pattern.fullmatch(name) for pattern in (_SEED, _MACHINE))


def _assignment(statement: ast.stmt) -> tuple[str | None, ast.expr | None]:
    """The plain name a statement assigns, and the value; no value for an update in place."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target, value = statement.targets[0], statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        target, value = statement.target, statement.value
    elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        return statement.target.id, None
    else:
        return None, None
    return (target.id, value) if isinstance(target, ast.Name) else (None, None)


def _literal(node: ast.expr) -> Knob | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
        return node.value
    return _number(node)


def _number(node: ast.expr) -> int | float | None:
    """The value of arithmetic on numbers; None for anything else. No code is ever evaluated."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return None if isinstance(node.value, bool) else node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = _number(node.operand)
        return -inner if inner is not None and isinstance(node.op, ast.USub) else inner
    if not isinstance(node, ast.BinOp) or type(node.op) not in _OPERATORS:
        return None
    left, right = _number(node.left), _number(node.right)
    if left is None or right is None or (isinstance(node.op, ast.Pow) and abs(right) > _LARGEST_POWER):
        return None
    try:
        value = _OPERATORS[type(node.op)](left, right)
    except (ZeroDivisionError, OverflowError):
        return None
    return value if isinstance(value, int | float) else None  # (-8) ** 0.5 is complex


def _fitted(name: str, old: Knob, new: Knob) -> Knob:
    """``new`` in the type of ``old``: whole numbers stay whole, floats keep their point."""
    numeric = not isinstance(old, bool | str) and not isinstance(new, bool | str)
    if not numeric and type(old) is not type(new):
        raise InputError(f"{name} is {old!r}; it cannot become {new!r}, which is of another kind")
    if isinstance(new, float) and not math.isfinite(new):
        raise InputError(f"{name} cannot become {new!r}; give a finite number")
    if numeric and isinstance(old, int) and isinstance(new, float) and new.is_integer():
        return int(new)
    return float(new) if numeric and isinstance(old, float) else new


def _written(value: Knob) -> str:
    """``value`` as Python text, in double quotes where that needs no escape."""
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and '"' not in text else text


def _derived(value: Knob) -> Range | None:
    if isinstance(value, bool):
        return Range(choices=(False, True))
    if isinstance(value, str) or value < 0 or not math.isfinite(value):
        return None
    if isinstance(value, int):
        return Range(low=max(value // 4, 1), high=value * 4, log=True, integer=True) if value else None
    if value == 0:
        return Range(low=0.0, high=0.3)
    if 0.5 < value < 1 - _NEAR_ONE:
        return Range(low=max(rounded(1 - (1 - value) * 10), 0.0), high=rounded(1 - (1 - value) / 10))
    high = min(value * 10, 1.0) if value <= 0.5 else value * 10
    return Range(low=rounded(value / 10), high=rounded(high), log=True)


class _SeedBlind(ast.NodeTransformer):
    """Blanks every seed, and drops statements that are a bare literal (docstrings among them)."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        self.generic_visit(node)
        if any(isinstance(target, ast.Name) and _SEED.fullmatch(target.id) for target in node.targets):
            node.value = _blank(node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and _SEED.fullmatch(node.target.id) and node.value:
            node.value = _blank(node.value)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        self.generic_visit(node)
        if node.arg and _SEED.fullmatch(node.arg):
            node.value = _blank(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in _SEEDERS:
            node.args = [_blank(argument) for argument in node.args]
        return node


def _blank(node: ast.expr) -> ast.expr:
    return ast.Constant(value=None) if _number(node) is not None else node
