"""What a ChatModel promises, over true sockets: a scripted endpoint, and a true small model where one is installed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from swarm.agents.chat import ATTEMPTS, OpenAIChat
from swarm.agents.chat import Endpoint as Where
from swarm.errors import ContextOverflow, ModelMisused, ModelUnavailable
from swarm.ports import Ask, Message, SystemClock, Tool, ToolCall, Usage
from tests.fakes.endpoint import Endpoint, Reply, Request, endpoint, says

KEY = "sk-very-secret-0123456789"
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


class Instant(SystemClock):
    """Sleeps are noted, not slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@asynccontextmanager
async def chat(server: Endpoint, *, timeout: float = 60.0, key: str = KEY) -> AsyncIterator[tuple[OpenAIChat, Instant]]:
    clock = Instant()
    where = Where(model=server.models[0], base_url=server.url, key=key, timeout_seconds=timeout)
    model = OpenAIChat(where, clock=clock, gate=asyncio.Semaphore(2))
    yield model, clock
    await model.close()


def question(text: str = "how many?", **more: object) -> Ask:
    return Ask(messages=[Message(role="user", content=text)], **more)  # type: ignore[arg-type] # fields of Ask


async def test_an_answer_comes_in_pieces_and_is_counted() -> None:
    heard: list[str] = []
    with endpoint([Reply(text="one two three four five six seven eight nine ten")]) as server:
        async with chat(server) as (model, _):
            answer = await model.ask(question(), heard=heard.append)
    assert len(heard) > 1
    assert "".join(heard) == answer.text == "one two three four five six seven eight nine ten"
    assert (answer.finish, answer.usage) == ("stop", Usage(prompt_tokens=2, completion_tokens=10))
    assert server.billed == (2, 10)


async def test_tool_calls_are_put_together_and_answered() -> None:
    tool = Tool(name="search", description="Finds.", parameters={"type": "object", "properties": {}})
    with endpoint([Reply(calls=[("search", {"q": "warmup of the rate"}), ("show", {})]), Reply(text="done")]) as server:
        async with chat(server) as (model, _):
            asked = await model.ask(question(tools=[tool]))
            assert asked.calls == (
                ToolCall(id="c0", name="search", arguments='{"q": "warmup of the rate"}'),
                ToolCall(id="c1", name="show", arguments="{}"),
            )
            turns = [
                Message(role="user", content="how many?"),
                Message(role="assistant", content="", calls=asked.calls),
                *(Message(role="tool", content="ten", answers=call.id) for call in asked.calls),
            ]
            assert (await model.ask(Ask(messages=turns, tools=[tool]))).text == "done"
    sent = server.requests[1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
    assert sent[1]["tool_calls"][0]["function"]["arguments"] == '{"q": "warmup of the rate"}'
    assert sent[3]["tool_call_id"] == "c1"


async def test_cut_answers_and_refusals_are_told_as_what_they_are() -> None:
    with endpoint([Reply(text='{"n": 1', finish="length"), Reply(refusal="I would rather not")]) as server:
        async with chat(server) as (model, _):
            assert (await model.ask(question(schema=SCHEMA))).finish == "length"
            refused = await model.ask(question(schema=SCHEMA))
    assert (refused.finish, refused.text) == ("refusal", "I would rather not")
    assert server.requests[0]["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_a_busy_endpoint_is_left_alone_as_long_as_it_wishes() -> None:
    busy = [Reply(status=429, text="slow down", headers={"Retry-After": "7"}), Reply(status=503, text="overloaded")]
    with endpoint([*busy, Reply(status=500, text="oops"), says({"n": 1})]) as server:
        async with chat(server) as (model, clock):
            answer = await model.ask(question())
    assert answer.usage == Usage(prompt_tokens=server.billed[0], completion_tokens=server.billed[1])
    assert 7 <= clock.slept[0] <= 8
    assert 1 <= clock.slept[1] <= 2
    assert 2 <= clock.slept[2] <= 4
    assert len(server.requests) == 4


async def test_retry_after_may_be_a_date() -> None:
    past = {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}
    with endpoint([Reply(status=429, text="slow down", headers=past), Reply(text="yes")]) as server:
        async with chat(server) as (model, clock):
            await model.ask(question())
    assert 0 < clock.slept[0] < 1.1


async def test_an_endpoint_that_stays_down_is_given_up_on() -> None:
    with endpoint([Reply(status=500, text="oops")]) as server:
        async with chat(server) as (model, _):
            with pytest.raises(ModelUnavailable, match=f"no answer in {ATTEMPTS} attempts: .*oops"):
                await model.ask(question())
    assert len(server.requests) == ATTEMPTS
    async with chat(server) as (model, _):  # nobody listens there any more
        with pytest.raises(ModelUnavailable, match="Connection error"):
            await model.ask(question())


async def test_a_wish_for_hours_is_not_waited_for() -> None:
    with endpoint([Reply(status=429, text="quota", headers={"Retry-After": "7200"})]) as server:
        async with chat(server) as (model, clock):
            with pytest.raises(ModelUnavailable, match="left alone for 7200 s"):
                await model.ask(question())
    assert (len(server.requests), clock.slept) == (1, [])


@pytest.mark.parametrize("bad", [Reply(text="a b c d e f g h", breaks=True), Reply(text="a b", late_error="gone")])
async def test_a_stream_that_breaks_is_asked_for_again_and_both_are_counted(bad: Reply) -> None:
    with endpoint([bad, Reply(text="whole")]) as server:
        async with chat(server) as (model, _):
            answer = await model.ask(question())
    assert answer.text == "whole"
    assert answer.usage.estimated
    assert answer.usage.tokens > 3


async def test_a_hang_is_noticed() -> None:
    with endpoint([Reply(hangs=True), Reply(text="awake")]) as server:
        async with chat(server, timeout=1.5) as (model, _):
            assert (await model.ask(question())).text == "awake"
    assert len(server.requests) == 2


async def test_a_question_that_is_too_long_says_so_at_once() -> None:
    with endpoint([Reply(text="fine")], context=50) as server:
        async with chat(server) as (model, _):
            with pytest.raises(ContextOverflow) as raised:
                await model.ask(question("word " * 60))
            assert raised.value.limit == 50
    openai = Reply(status=400, text="This model's maximum context length is 8 tokens", error={"code": "context_length"})
    with endpoint([openai]) as server:
        async with chat(server) as (model, _):
            with pytest.raises(ContextOverflow):
                await model.ask(question())
    assert len(server.requests) == 1


async def test_a_wrong_model_or_key_is_told_once_and_the_key_never() -> None:
    with endpoint([Reply(text="fine")], key=KEY) as server:
        async with chat(server, key=KEY + "x") as (model, _):
            with pytest.raises(ModelMisused, match="check the key") as raised:
                await model.ask(question())
        async with chat(server) as (model, _):
            server.models = ["another"]
            with pytest.raises(ModelMisused, match="`scripted` does not exist"):
                await model.ask(question())
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert "secret" not in repr(model.__dict__)
    quota = Reply(status=429, text="You exceeded your quota", error={"code": "insufficient_quota"})
    with endpoint([quota]) as server:
        async with chat(server) as (model, _):
            with pytest.raises(ModelMisused, match="exceeded your quota"):
                await model.ask(question())
    assert len(server.requests) == 1


def picky(*words: str) -> Callable[[Request], Reply]:
    """A server that knows none of these request fields."""

    def brain(request: Request) -> Reply:
        unknown = next((word for word in words if word in request), None)
        if unknown is not None:
            return Reply(status=400, text=f"Unsupported parameter: '{unknown}'", error={"param": unknown})
        return Reply(text='{"n": 3}', silent_usage=True)

    return brain


async def test_what_a_server_lacks_is_made_up_for_and_asked_once() -> None:
    unknown = ("response_format", "tools", "stream_options", "temperature", "max_tokens")
    tool = Tool(name="search", description="Finds.", parameters={"type": "object", "properties": {}})
    asked = question(schema=SCHEMA, tools=[tool], temperature=0.5, max_tokens=99)
    with endpoint(picky(*unknown)) as server:
        async with chat(server) as (model, clock):
            first = await model.ask(asked)
            await model.ask(asked)
            assert model.lacks == set(unknown)
    assert first.text == '{"n": 3}'
    assert first.usage.estimated
    assert len(server.requests) == len(unknown) + 2
    assert clock.slept == []
    last = server.requests[-1]
    assert last["max_completion_tokens"] == 99
    assert '"required": ["n"]' in last["messages"][-1]["content"]


async def test_no_more_questions_at_once_than_allowed() -> None:
    import threading

    barrier, most, lock, now = threading.Event(), [0], threading.Lock(), [0]

    def slow(_: Request) -> Reply:
        return Reply(text="x")

    with endpoint(slow) as server:
        react = server.react

        def counted(request: Request) -> Reply:
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            barrier.wait(0.05)
            with lock:
                now[0] -= 1
            return react(request)

        server.react = counted  # type: ignore[method-assign] # the fake is watched, nothing of ours is replaced
        async with chat(server) as (model, _):
            await asyncio.gather(*(model.ask(question()) for _ in range(6)))
    assert most[0] == 2


async def test_nothing_of_the_key_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with endpoint([Reply(status=500, text=f"echo {KEY}"), Reply(text="fine")], key=KEY) as server:
        async with chat(server) as (model, _):
            await model.ask(question())
    assert KEY not in caplog.text.replace(f"echo {KEY}", "")
