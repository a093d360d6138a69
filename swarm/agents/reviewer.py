"""The reviewer that needs no model: static checks that stop a bad proposal before it costs a slot.

Checks run in the order of what they cost; all that can be checked is, so that a rejection names every reason.
"""

import ast
import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from swarm.agents.roles import REVIEWER
from swarm.errors import InputError
from swarm.ports import Observation
from swarm.research.experiment import Knob, Proposal, Review, ReviewVerdict
from swarm.research.knobs import read_knobs, same_but_for_seed
from swarm.research.space import in_range
from trainer.contract import Outcome, Range

# Ways out of a trial's sandbox, or round its judge, that no training script needs.
_MODULES = frozenset(
    {"ctypes", "http", "importlib", "multiprocessing", "pty", "requests", "runpy", "socket", "subprocess", "urllib"}
)
_CALLS = frozenset({"eval", "exec", "compile", "__import__", "breakpoint"})
_OS_CALLS = tuple(f"os.{name}" for name in ("system", "popen", "exec", "spawn", "posix_spawn", "fork", "kill"))
_PLACES = ("holdout", "judge", "harness", "/proc/", "task.toml")  # what a candidate has no business to name

_PEAKS_NEEDED = 12  # trials with a memory peak before one is predicted


@dataclass(frozen=True, kw_only=True)
class ReviewContext:
    """What a reviewer is told beside the proposal."""

    parent_source: str  # the file the edit was made on
    ranges: Mapping[str, Range]  # where the task allows each constant
    observations: Sequence[Observation] = ()  # all trials of the session, of one accelerator type
    memory_mb: float | None = None  # MiB a trial may use on the slots it can get; None: no limit
    preflight: Callable[[str], Awaitable[str | None]] | None = None  # file -> what its first step showed to be wrong
    noise: float | None = None  # sd of one screening score, metric units
    duplicate: str | None = None  # experiment that holds the claim on this candidate; None: it is new


class RuleReviewer:
    """Answers APPROVED or REJECTED, with one sentence for each thing checked or found."""

    name = REVIEWER.name

    async def review(self, proposal: Proposal, context: ReviewContext) -> Review:
        """Judge a proposal. The caller writes the page, as it knows the experiment's id."""
        faults = await asyncio.to_thread(lambda: list(find_faults(proposal, context)))
        if not faults and context.preflight is not None:
            fault = await context.preflight(proposal.source)
            faults += [fault] if fault else []
        if faults:
            return Review(verdict=ReviewVerdict.REJECTED, reasons=tuple(faults))
        checked = "it compiles, differs from its parent and from what was tried, and keeps to the policy and ranges"
        peak = predicted_peak(_changed(proposal, context), context.observations)
        memory = f"; its predicted memory peak is {peak:.0f} MiB" if peak is not None else ""
        return Review(verdict=ReviewVerdict.APPROVED, reasons=(f"{checked}{memory}",))


def find_faults(proposal: Proposal, context: ReviewContext) -> Iterator[str]:
    """Every reason against a proposal, one sentence each."""
    try:
        compile(proposal.source, "candidate", "exec", dont_inherit=True)
        knobs = read_knobs(proposal.source)
        before = read_knobs(context.parent_source)
    except (SyntaxError, ValueError, InputError) as error:
        yield f"it does not compile: {error}"
        return
    if same_but_for_seed(proposal.source, context.parent_source):
        yield "nothing but comments, layout or a random seed differs from its parent"
    if context.duplicate is not None:
        yield f"the same candidate was tried as {context.duplicate}"
    for escape in sorted(escapes(proposal.source) - escapes(context.parent_source)):
        yield f"{escape}, which its parent does not and a trial may not"
    for name, value in knobs.items():
        within = context.ranges.get(name)
        if within is not None and value != before.get(name) and not in_range(value, within):
            yield f"{name} = {value!r} is outside the task's range ({_shown(within)})"
    if context.memory_mb is not None:
        peak = predicted_peak(knobs, context.observations)
        if peak is not None and peak > context.memory_mb:
            yield f"its predicted memory peak of {peak:.0f} MiB is above the slot's {context.memory_mb:.0f} MiB"
    oom = Outcome.OUT_OF_MEMORY
    too_large = [o for o in context.observations if o.outcome == oom]
    worse = next((o for o in too_large if _at_least_as_extreme(knobs, o, before)), None)
    if worse is not None:
        yield f"{worse.experiment} ran out of memory with the same constants no more extreme"


@lru_cache(maxsize=64)  # a parent's file is looked at again for each of its children
def escapes(source: str) -> frozenset[str]:
    """What a file does that a trial must not, one phrase each. A first fence: the sandbox is the wall."""
    found: set[str] = set()
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings say, not do
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = [f"{module}{alias.name}" for alias in node.names]
            found |= {f"it imports {name}" for name in names if name.split(".")[0] in _MODULES}
            found |= {f"it imports {name}" for name in names if any(place in name for place in _PLACES)}
            found |= {f"it imports {name}" for name in names if name.startswith(_OS_CALLS)}
        elif isinstance(node, ast.Name) and node.id in _CALLS:
            found.add(f"it uses {node.id}")
        elif isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if f"{owner}.{node.attr}".startswith(_OS_CALLS):
                found.add(f"it uses os.{node.attr}")
            if node.attr in {"__subclasses__", "__globals__", "__builtins__"}:
                found.add(f"it reaches for {node.attr}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            found |= {f"it names '{place}'" for place in _PLACES if place in node.value.lower()}
    return frozenset(found)


def predicted_peak(knobs: Mapping[str, Knob], observations: Sequence[Observation]) -> float | None:
    """Memory peak in MiB that past trials suggest; None before twelve of them have a peak.

    Ridge regression of the logarithm of the peak on the logarithms of the numeric constants that varied: memory
    is close to a product of sizes, and the ridge keeps what was seen seldom from being blamed.
    """
    import numpy as np

    told = [o for o in observations if o.peak_memory_mb]
    if len(told) < _PEAKS_NEEDED:
        return None
    names = [name for name in knobs if len({_size(o.knobs.get(name)) for o in told}) > 1]
    if not names:
        return None
    x = np.array([[_size(o.knobs.get(name)) for name in names] for o in told])
    y = np.log([o.peak_memory_mb or 1.0 for o in told])
    middle, spread = x.mean(axis=0), x.std(axis=0)
    scaled = (x - middle) / spread
    weights = np.linalg.solve(scaled.T @ scaled + np.eye(len(names)), scaled.T @ (y - y.mean()))
    here = (np.array([_size(knobs[name]) for name in names]) - middle) / spread
    return float(np.exp(y.mean() + here @ weights))


def _changed(proposal: Proposal, context: ReviewContext) -> dict[str, Knob]:
    try:
        return {**read_knobs(context.parent_source), **proposal.changes}
    except InputError:
        return dict(proposal.changes)


def _size(value: Knob | None) -> float:
    """A constant on the scale on which memory grows with it; 0 for what has no size."""
    if value is None or isinstance(value, str):
        return 0.0
    return math.log(value) if not isinstance(value, bool) and value > 0 else float(value)


def _at_least_as_extreme(knobs: Mapping[str, Knob], seen: Observation, before: Mapping[str, Knob]) -> bool:
    """Whether ``knobs`` go as far from the parent as ``seen`` in all that it changed."""
    moved = {name: value for name, value in seen.knobs.items() if name in before and value != before[name]}
    if not moved:
        return False
    for name, value in moved.items():
        now, was = knobs.get(name), before[name]
        if isinstance(value, str | bool) or isinstance(was, str | bool) or isinstance(now, str | bool) or now is None:
            if now != value:
                return False
        elif not ((now >= value > was) or (now <= value < was)):
            return False
    return True


def _shown(within: Range) -> str:
    return ", ".join(map(str, within.choices)) if within.choices else f"{within.low:g} to {within.high:g}"
