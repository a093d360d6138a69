"""The ChatModel over any OpenAI-compatible endpoint. The only place that knows the openai client.

Every reply is streamed, so that a hang is noticed and people can listen. A server that lacks a feature (schemas,
tools, usage in streams, a parameter) says so once with a 4xx: the feature is left out from then on and what it did
is made up for, by the schema in the prompt or by an estimate of the tokens.
"""

import asyncio
import json
import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from swarm.errors import ContextOverflow, ModelMisused, ModelUnavailable
from swarm.ports import Answer, Ask, Clock, Message, SystemClock, ToolCall, Usage

if TYPE_CHECKING:
    from openai import APIError, APIStatusError, AsyncOpenAI
    from openai.types.chat import ChatCompletionChunk

ATTEMPTS = 6  # of one question, the first included: about a minute of patience with a busy endpoint
_FIRST_WAIT = 1.0  # seconds before the second attempt; doubled each time, with jitter
_LONGEST_WAIT = 60.0  # seconds; a Retry-After beyond it is not waited for
_CHARACTERS_A_TOKEN = 3.5  # of English and code, to estimate what a server does not count
_OVERALL = 5  # a whole reply may take so many times the silence allowed

# What a server may not know, the words with which it refuses it, and what is sent instead.
_FEATURES: Mapping[str, re.Pattern[str]] = {
    "stream_options": re.compile(r"stream_options|include_usage"),
    "response_format": re.compile(r"response_format|json_schema|structured output", re.IGNORECASE),
    "tools": re.compile(r"\btools?\b|tool_choice|function.?call", re.IGNORECASE),
    "temperature": re.compile(r"temperature", re.IGNORECASE),
    "max_tokens": re.compile(r"max_tokens|max_completion_tokens", re.IGNORECASE),
}
_OVERFLOW = re.compile(r"context.{0,12}(length|size|window)|too many tokens|prompt is too long", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a model is spoken to, and how patiently."""

    model: str  # as the endpoint calls it
    base_url: str | None = None  # None: OpenAI's own
    key: str = field(default="none", repr=False)  # never shown, never written
    timeout_seconds: float = 120.0  # without a sign of life, before it counts as hung


class OpenAIChat:
    """A ChatModel (see ports). Any number of questions at once; ``gate`` bounds how many reach the endpoint."""

    def __init__(self, endpoint: Endpoint, *, clock: Clock, gate: asyncio.Semaphore, seed: int = 0) -> None:
        self.name = endpoint.model
        self._endpoint = endpoint
        self._clock = clock
        self._gate = gate
        self._jitter = random.Random(seed)
        self._lacks: set[str] = set()  # features that the server refused
        self._client: AsyncOpenAI | None = None

    @property
    def lacks(self) -> frozenset[str]:
        """What the endpoint turned out not to know."""
        return frozenset(self._lacks)

    async def ask(self, ask: Ask, *, heard: Callable[[str], None] | None = None) -> Answer:
        """One answer. Raises ContextOverflow, ModelMisused (bad key, unknown model) and ModelUnavailable."""
        from openai import APIConnectionError, APIError, APIStatusError

        wasted = Usage()
        for attempt in range(1, ATTEMPTS + 1):
            pieces = _Pieces(heard)
            try:
                async with self._gate:
                    await self._listen(ask, pieces)
                return pieces.answer(ask, wasted)
            except APIStatusError as error:
                wait = self._after_status(ask, error)
                fault: APIError | None = error
            except APIConnectionError as error:  # refused, hung or broken off
                wait, fault = None, error
            except APIError as error:  # told in the middle of a stream
                if _OVERFLOW.search(error.message):
                    raise self._overflow(error) from None
                wait, fault = None, error
            except (TimeoutError, json.JSONDecodeError):
                wait, fault = None, None
            wasted = wasted + pieces.wasted(ask)
            if wait == 0:
                continue
            if attempt < ATTEMPTS:
                backoff = _FIRST_WAIT * 2 ** (attempt - 1) * self._jitter.uniform(0.5, 1.0)
                await self._clock.sleep(backoff if wait is None else wait + self._jitter.uniform(0, 1))
        told = "it stopped answering in the middle" if fault is None else self._said(fault)
        raise ModelUnavailable(
            f"{self.name} at {self._where} gave no answer in {ATTEMPTS} attempts: {told}",
            wasted=(wasted.prompt_tokens, wasted.completion_tokens),
        )

    async def models(self) -> list[str]:
        """What the endpoint offers. Raises ModelUnavailable."""
        from openai import OpenAIError

        try:
            return [model.id async for model in self._opened().models.list()]
        except OpenAIError as error:
            raise ModelUnavailable(f"{self._where} does not list its models: {self._redacted(str(error))}") from None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    # ---- one attempt ------------------------------------------------------------------------------------

    def _opened(self) -> "AsyncOpenAI":
        if self._client is None:
            import httpx2
            from openai import AsyncOpenAI

            self._client = AsyncOpenAI(
                api_key=self._endpoint.key,
                base_url=self._endpoint.base_url,
                max_retries=0,  # ours know what was heard and what it cost
                timeout=httpx2.Timeout(self._endpoint.timeout_seconds, connect=10.0),
            )
        return self._client

    async def _listen(self, ask: Ask, pieces: "_Pieces") -> None:
        async with asyncio.timeout(_OVERALL * self._endpoint.timeout_seconds):
            stream: Any = await self._opened().chat.completions.create(**self._request(ask))
            try:
                async for chunk in stream:
                    pieces.add(chunk)
            finally:
                await stream.close()
        if pieces.finish is None:
            raise TimeoutError("the stream ended without an end")

    def _request(self, ask: Ask) -> dict[str, Any]:
        messages = [_message(message) for message in ask.messages]
        request: dict[str, Any] = {"model": self.name, "messages": messages, "stream": True}
        if "stream_options" not in self._lacks:
            request["stream_options"] = {"include_usage": True}
        if ask.temperature is not None and "temperature" not in self._lacks:
            request["temperature"] = ask.temperature
        request["max_completion_tokens" if "max_tokens" in self._lacks else "max_tokens"] = ask.max_tokens
        if ask.tools and "tools" not in self._lacks:
            request["tools"] = [
                {
                    "type": "function",
                    "function": {"name": t.name, "description": t.description, "parameters": dict(t.parameters)},
                }
                for t in ask.tools
            ]
        if ask.schema is not None:
            if "response_format" not in self._lacks:
                form = {"name": ask.schema_name, "schema": dict(ask.schema), "strict": True}
                request["response_format"] = {"type": "json_schema", "json_schema": form}
            else:
                told = f"Answer with one JSON object and nothing else. Its schema:\n{json.dumps(dict(ask.schema))}"
                messages.append({"role": "user", "content": told})
        return request

    # ---- what went wrong ----------------------------------------------------------------------------------

    def _after_status(self, ask: Ask, error: "APIStatusError") -> float | None:
        """Seconds to wait before another attempt, None for as long as usual, 0 for at once; raises when none helps."""
        status, told = error.status_code, f"{error.message} {error.type or ''} {error.code or ''} {error.param or ''}"
        if (status in (408, 409, 429) or status >= 500) and error.code != "insufficient_quota":
            if (lack := self._newly_lacking(ask, told)) and status == 501:
                self._lacks.add(lack)
                return 0
            wait = _retry_after(error.response.headers.get("retry-after"), self._clock.now())
            if wait is not None and wait > _LONGEST_WAIT:
                raise ModelUnavailable(
                    f"{self.name} at {self._where} asks to be left alone for {wait:.0f} s: {self._said(error)}"
                )
            return wait
        if status in (400, 413, 422) and (_OVERFLOW.search(told) or "exceed_context_size" in told):
            raise self._overflow(error)
        lack = self._newly_lacking(ask, told) if status in (400, 404, 415, 422) else None
        if lack is not None:
            self._lacks.add(lack)
            return 0
        raise ModelMisused(f"{self.name} at {self._where} refuses the question: {self._said(error)}{_remedy(status)}")

    def _newly_lacking(self, ask: Ask, told: str) -> str | None:
        sent = self._request(ask).keys()
        return next((name for name, words in _FEATURES.items() if name in sent and words.search(told)), None)

    def _overflow(self, error: "APIError") -> ContextOverflow:
        body: Any = error.body if isinstance(error.body, Mapping) else {}
        limit = body.get("n_ctx") if isinstance(body.get("n_ctx"), int) else None
        return ContextOverflow(f"the question is too long for {self.name}: {self._said(error)}", limit=limit)

    def _said(self, error: "APIError") -> str:
        return self._redacted(" ".join(error.message.split())[:300])

    def _redacted(self, text: str) -> str:
        """Without the key, and without what looks like the beginning of one (providers echo a part of it)."""
        key = self._endpoint.key
        return re.sub(r"\b(sk|key)-[\w*.-]{4,}", "[key]", text.replace(key, "[key]") if len(key) > 4 else text)

    @property
    def _where(self) -> str:
        return re.sub(r"//[^/@]*@", "//", self._endpoint.base_url or "OpenAI")


async def models_offered(base_url: str | None, key: str) -> list[str]:
    """The models of an endpoint (None: OpenAI's own). Raises ModelUnavailable."""
    where = Endpoint(model="", base_url=base_url, key=key, timeout_seconds=10.0)
    chat = OpenAIChat(where, clock=SystemClock(), gate=asyncio.Semaphore(1))
    try:
        return await chat.models()
    finally:
        await chat.close()


class _Pieces:
    """What was heard of one reply so far."""

    def __init__(self, heard: Callable[[str], None] | None) -> None:
        self._heard = heard
        self.text = ""
        self.refusal = ""
        self.finish: str | None = None
        self._calls: dict[int, dict[str, str]] = {}
        self._usage: Usage | None = None

    def add(self, chunk: "ChatCompletionChunk") -> None:
        if chunk.usage is not None:
            self._usage = Usage(
                prompt_tokens=chunk.usage.prompt_tokens, completion_tokens=chunk.usage.completion_tokens
            )
        for choice in chunk.choices or []:
            self.finish = choice.finish_reason or self.finish
            delta = choice.delta
            if delta is None:
                continue
            self.refusal += delta.refusal or ""
            if delta.content:
                self.text += delta.content
                if self._heard is not None:
                    self._heard(delta.content)
            for call in delta.tool_calls or []:
                known = self._calls.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
                known["id"] = call.id or known["id"]
                if call.function is not None:
                    known["name"] += call.function.name or ""
                    known["arguments"] += call.function.arguments or ""

    def answer(self, ask: Ask, wasted: Usage) -> Answer:
        calls = tuple(
            ToolCall(id=call["id"] or f"call-{index}", name=call["name"], arguments=call["arguments"])
            for index, call in sorted(self._calls.items())
        )
        finish = "refusal" if self.refusal or self.finish == "content_filter" else self.finish or "stop"
        used = self._usage or self._estimated(ask)
        return Answer(text=self.text or self.refusal, calls=calls, finish=finish, usage=used + wasted)

    def wasted(self, ask: Ask) -> Usage:
        """What an answer that broke off is likely to be charged; nothing when none had begun."""
        begun = self.text or self._calls or self.refusal or self.finish
        return self._usage or (self._estimated(ask) if begun else Usage())

    def _estimated(self, ask: Ask) -> Usage:
        heard = len(self.text) + len(self.refusal) + sum(len(c["name"] + c["arguments"]) for c in self._calls.values())
        return Usage(
            prompt_tokens=sum(tokens_of(message.content) for message in ask.messages),
            completion_tokens=round(heard / _CHARACTERS_A_TOKEN),
            estimated=True,
        )


def tokens_of(text: str) -> int:
    """About how many tokens a text has; generous for English."""
    return round(len(text) / _CHARACTERS_A_TOKEN) + 4


def _message(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        told["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
    if message.answers is not None:
        told["tool_call_id"] = message.answers
    return told


def _retry_after(header: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110); None without a usable one."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now
        except ValueError:
            return None
    return max(seconds, 0.001) if math.isfinite(seconds) else None


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "; check the key in the environment (see docs/models.md)"
    return "; see `[models]` in docs/models.md" if status == 404 else ""
