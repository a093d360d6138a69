"""How a role works, as one LangGraph graph: recall -> think -> use tools -> think … -> check -> write.

``check`` sends the thought back once, with its fault; a second fault ends the run. The state lives only as long as
a run: what must outlast it is written to the notebook by ``write``, under ids that make writing twice harmless, and
what a model was paid for is kept by ``think``. A run that died is run again from its start and repeats no question.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypedDict, TypeVar, cast

from swarm.agents.roles import Role
from swarm.errors import SwarmError

_THOUGHTS = 2  # the first, and one more with the fault of the first

Recalled = TypeVar("Recalled")
Reply = TypeVar("Reply")
Result_co = TypeVar("Result_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class Wants:
    """Instead of an answer: tools to be used before the thought goes on."""

    use: Callable[[], Awaitable[None]]  # uses them and keeps what they said where the next thought finds it


class Work(Protocol[Recalled, Reply, Result_co]):
    """What one run of a role does at each node. Nodes may run twice: they are idempotent."""

    async def recall(self) -> Recalled:
        """What the notebook, the library and the task say about it."""
        ...

    async def think(self, recalled: Recalled, fault: str | None, /) -> Reply | Wants:
        """An answer, or tools to be used first; ``fault`` says what was wrong with the last answer."""
        ...

    async def check(self, reply: Reply, /) -> str | None:
        """The fault of an answer, in one sentence; None when it will do."""
        ...

    async def write(self, reply: Reply, /) -> Result_co:
        """Put the answer where others find it, and return what the caller asked for."""
        ...


class _State(TypedDict, total=False):
    recalled: Any
    reply: Any
    fault: str | None
    thoughts: int
    result: Any


async def run_role(
    role: Role, work: Work[Recalled, Reply, Result_co], *, at: Callable[[str], None] | None = None
) -> Result_co:
    """One run of a role; ``at`` is told each node as it begins.

    Raises SwarmError when its answer fails the check twice. A work bounds its own tool use; the graph allows more.
    """
    context = _Context(work=work, at=at or (lambda _: None))
    state = await _graph(role.name).ainvoke({"thoughts": 0}, {"recursion_limit": 200}, context=context)
    if state.get("fault"):
        raise SwarmError(f"the {role.name}'s answer was refused twice: {state['fault']}")
    return cast("Result_co", state["result"])


@dataclass(frozen=True)
class _Context:
    work: Work[Any, Any, Any]
    at: Callable[[str], None]


@cache
def _graph(name: str) -> Any:
    from langgraph.graph import END, START, StateGraph
    from langgraph.runtime import Runtime

    async def recall(state: _State, runtime: Runtime[_Context]) -> _State:  # noqa: ARG001 - the name is the protocol's
        runtime.context.at("recall")
        return {"recalled": await runtime.context.work.recall()}

    async def think(state: _State, runtime: Runtime[_Context]) -> _State:
        runtime.context.at("think")
        reply = await runtime.context.work.think(state["recalled"], state.get("fault"))
        return {"reply": reply, "thoughts": state["thoughts"] + (not isinstance(reply, Wants))}

    async def use_tools(state: _State, runtime: Runtime[_Context]) -> _State:
        runtime.context.at("use tools")
        await state["reply"].use()
        return {"fault": None}

    async def check(state: _State, runtime: Runtime[_Context]) -> _State:
        runtime.context.at("check")
        return {"fault": await runtime.context.work.check(state["reply"])}

    async def write(state: _State, runtime: Runtime[_Context]) -> _State:
        runtime.context.at("write")
        return {"result": await runtime.context.work.write(state["reply"])}

    def after_think(state: _State) -> str:
        return "use tools" if isinstance(state["reply"], Wants) else "check"

    def after_check(state: _State) -> str:
        if not state.get("fault"):
            return "write"
        return "think" if state["thoughts"] < _THOUGHTS else END

    graph = StateGraph(_State, context_schema=_Context)
    graph.add_node("recall", recall)
    graph.add_node("think", think)
    graph.add_node("use tools", use_tools)
    graph.add_node("check", check)
    graph.add_node("write", write)
    graph.add_edge(START, "recall")
    graph.add_edge("recall", "think")
    graph.add_conditional_edges("think", after_think, ["use tools", "check"])
    graph.add_edge("use tools", "think")
    graph.add_conditional_edges("check", after_check, ["write", "think", END])
    graph.add_edge("write", END)
    return graph.compile(name=name)
