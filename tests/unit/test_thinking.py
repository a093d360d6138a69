"""How specialists think: faults go back once, costs add up to the token, caps hold, what is too long is shortened."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from notebook_store.entry import Entry, Kind, Link, Relation
from swarm.agents.llm import ModelProposer
from swarm.agents.mind import Cap
from swarm.agents.replies import Finding, Pages, Proposals, Reading, Verdict
from swarm.agents.reviewer import ReviewContext
from swarm.agents.reviewer_llm import SAMPLED, ModelReviewer
from swarm.agents.roles import ROLES
from swarm.agents.thought import rendered
from swarm.agents.tools import searching
from swarm.errors import CapReached, ContextOverflow, ModelUnavailable, SwarmError
from swarm.research.experiment import Proposal, ReviewVerdict
from tests.fakes.endpoint import Endpoint, Reply, Request, endpoint, prompt_of, says
from tests.thinking_lab import TRAIN, Lab, library, thinking_lab

GOOD = {"search": "return (x - 3.0) ** 2", "replace": "return abs(x - 3.0)"}


def idea(**more: Any) -> dict[str, Any]:
    known = {
        "hypothesis": "the absolute value is a gentler loss",
        "settings": [],
        "edits": [GOOD],
        "expected_gain": 0.2,
        "why_new": "nobody changed loss()",
        "cites": [],
    }
    return known | more


def proposals(*ideas: dict[str, Any], wave: str | None = None) -> Reply:
    return says({"wave": wave, "experiments": list(ideas)})


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with thinking_lab(tmp_path) as found:
        yield found


def proposer(lab: Lab, server: Endpoint, **caps: Cap) -> ModelProposer:
    skills = searching(lab.notebook, library(lab.task.folder.parent / "papers", []))
    return ModelProposer(lab.mind(server, "proposer-llm", **caps), lab.notebook, skills, session="s")


async def test_edits_settings_and_waves_become_proposals(lab: Lab) -> None:
    lab.notebook.append(
        Entry(id="n1", kind=Kind.NOTE, title="try abs", body="try abs", author="kim", session="", task="", created_at=0)
    )
    ideas = [
        idea(cites=["n1", "nothing"]),
        idea(hypothesis="a larger rate", edits=[], settings=[{"name": "RATE", "value": 0.2}]),
        idea(hypothesis="both", settings=[{"name": "X", "value": 2}]),
    ]
    with endpoint([proposals(*ideas, wave="is it the loss or the start?")]) as server:
        found = await proposer(lab, server).propose(lab.brief(wave="wave 2"))
    assert [one.changes for one in found] == [{}, {"RATE": 0.2}, {}]
    assert "return abs(x - 3.0)" in found[0].source
    assert "X = 2.0" in found[2].source
    assert found[0].citations == ("n1",)
    assert {one.wave for one in found} == {"wave 2 by proposer-llm"}
    assert [one.origin for one in found] == ["s-proposer-llm-0/1", "s-proposer-llm-0/2", "s-proposer-llm-0/3"]
    asked = prompt_of(server.requests[0])
    assert "loss: NEVER changed" in asked
    assert "try abs" in asked
    assert "At most 4 experiments" in asked


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        (Reply(text="I think we should widen it."), "not the JSON"),
        (Reply(text='{"wave": null, "experi', finish="length"), "cut off at the limit of an answer"),
        (Reply(refusal="I cannot help with that"), "you refused"),
        (says({"wave": None}), "experiments: Field required"),
        (proposals(idea(edits=[{"search": "return 1", "replace": "return 2"}])), "is not in the file"),
        (proposals(idea(edits=[{"search": "x - 3.0", "replace": "x"}])), "stands 2 times in the file"),
        (proposals(idea(edits=[{"search": "def step(", "replace": "def step((("}])), "does not compile"),
        (proposals(idea(edits=[], settings=[{"name": "RATE", "value": 99.0}])), "outside its range"),
        (proposals(idea(edits=[], settings=[{"name": "WIDTH", "value": 9}])), "WIDTH is no constant of the file"),
        (proposals(idea(edits=[], settings=[{"name": "X", "value": 1.0}])), "nothing but comments"),
    ],
)
async def test_a_fault_goes_back_once_with_what_was_wrong(lab: Lab, bad: Reply, fault: str) -> None:
    with endpoint([bad, proposals(idea())]) as server:
        found = await proposer(lab, server).propose(lab.brief())
        assert len(found) == 1
        assert fault in prompt_of(server.requests[1])
    assert len(server.requests) == 2


async def test_after_a_second_fault_what_is_sound_is_kept_and_nothing_else(lab: Lab) -> None:
    broken = idea(edits=[{"search": "nowhere", "replace": ""}])
    with endpoint([proposals(broken, idea())]) as server:
        assert len(await proposer(lab, server).propose(lab.brief())) == 1
    assert len(server.requests) == 2
    with endpoint([Reply(text="no")]) as server:
        thinker = proposer(lab, server)
        await thinker.deliver()
        with pytest.raises(SwarmError, match="refused twice"):
            await thinker.propose(lab.brief())


async def test_tools_are_used_and_their_misuse_is_told(lab: Lab) -> None:
    calls = [("search_notebook", {"query": "x"}), ("read_entry", {"entry": "gone"}), ("rm", {}), ("search_papers", "{")]
    with endpoint([Reply(calls=calls), proposals(idea())]) as server:
        assert len(await proposer(lab, server).propose(lab.brief())) == 1
    told = [message["content"] for message in server.requests[1]["messages"] if message["role"] == "tool"]
    assert told[0] == "nothing found"
    assert "has no entry gone" in told[1]
    assert "there is no tool 'rm'" in told[2]
    assert "are not JSON" in told[3]


async def test_a_model_that_only_ever_wants_tools_is_made_to_answer(lab: Lab) -> None:
    def brain(request: Request) -> Reply:
        return Reply(calls=[("search_notebook", {"query": "x"})]) if "tools" in request else proposals(idea())

    with endpoint(brain) as server:
        assert len(await proposer(lab, server).propose(lab.brief())) == 1
    assert len(server.requests) == 7


async def test_costs_add_up_to_the_token(lab: Lab) -> None:
    script = [Reply(calls=[("search_notebook", {"query": "x"})]), Reply(text="no JSON"), proposals(idea())]
    with endpoint(script) as server:
        await proposer(lab, server).propose(lab.brief())
    spent = lab.ledger.spent(None)
    assert spent.tokens == sum(server.billed)
    assert spent.dollars == pytest.approx(sum(server.billed) / 1000)
    assert sorted(lab.ledger.events) == [f"s-proposer-llm-0/{number}" for number in range(3)]


async def test_what_is_kept_is_neither_asked_nor_charged_again(lab: Lab) -> None:
    with endpoint([proposals(idea())]) as server:
        first = await proposer(lab, server).propose(lab.brief())
        again = await proposer(lab, server).propose(lab.brief())  # as after a death
        assert again == first
        assert len(server.requests) == 1
        thinker = proposer(lab, server)
        await thinker.propose(lab.brief())
        await thinker.deliver()
        assert (await thinker.propose(lab.brief()))[0].origin == "s-proposer-llm-1/1"
    assert len(server.requests) == 2
    assert lab.ledger.spent(None).tokens == sum(server.billed)


async def test_a_cap_is_reached_before_anything_is_asked(lab: Lab) -> None:
    with endpoint([Reply(text="no JSON"), proposals(idea())]) as server:
        with pytest.raises(CapReached, match="proposer-llm asks models no more: its 5 tokens are used"):
            await proposer(lab, server, cap=Cap(tokens=5)).propose(lab.brief())
        assert len(server.requests) == 1  # the one that reached it; the fault could not be told any more
        with pytest.raises(CapReached, match="the session asks models no more"):
            await proposer(lab, server, session_cap=Cap(dollars=0.001)).propose(lab.brief())
    assert len(server.requests) == 1


async def test_what_is_too_long_is_recalled_less(lab: Lab) -> None:
    for number in range(60):
        body = f"finding number {number} " + "about the rate and the loss " * 30
        entry = Entry(
            id=f"i{number}",
            kind=Kind.INSIGHT,
            title="t",
            body=body,
            author="analyst",
            session="s",
            task="bowl",
            created_at=number,
        )
        lab.notebook.append(entry)
    with endpoint([proposals(idea())], context=3000) as server:
        assert len(await proposer(lab, server).propose(lab.brief())) == 1
    assert 1500 < len(prompt_of(server.requests[0]).split()) <= 3000
    with endpoint([proposals(idea())], context=100) as server:
        thinker = proposer(lab, server)
        await thinker.deliver()
        with pytest.raises(ContextOverflow):
            await thinker.propose(lab.brief())


async def test_what_an_endpoint_that_breaks_off_is_likely_to_charge_is_on_record(lab: Lab) -> None:
    breaking = Reply(text="a long answer that never ends", breaks=True)
    with endpoint([breaking]) as server, pytest.raises(ModelUnavailable):
        await proposer(lab, server).propose(lab.brief())
    (lost,) = lab.ledger.events.values()
    assert lost["estimated"]
    assert lost["prompt_tokens"] > 0


# ---- the reviewer -----------------------------------------------------------------------------------------


PROPOSAL = Proposal(
    author="proposer-llm", hypothesis="gentler", parent="base", source=TRAIN.replace("** 2", "** 4"), expected_gain=0.1
)


def verdict(word: str, **more: Any) -> Reply:
    known = {"verdict": word, "plausible": "hardly", "redundant_with": None, "confounded": False, "reasons": ["why"]}
    return says(known | more)


async def test_a_reviewer_that_thinks_says_why_and_a_sample_runs_all_the_same(lab: Lab) -> None:
    with endpoint([verdict("REJECTED", redundant_with="s-e001", confounded=True)]) as server:
        reviewer = ModelReviewer(lab.mind(server, "reviewer-llm"), lab.notebook, session="s", task=lab.task, seed=0)
        context = ReviewContext(parent_source=TRAIN, ranges={})
        reviews = [await reviewer.judge(f"s-e{n:03d}", PROPOSAL, context) for n in range(100)]
    assert {review.verdict for review in reviews} == {ReviewVerdict.REJECTED}
    assert reviews[0].author == "reviewer-llm"
    assert "redundant with s-e001" in reviews[0].reasons
    assert "+    return (x - 3.0) ** 4" in prompt_of(server.requests[0])
    sampled = sum(review.sampled for review in reviews)
    assert 4 <= sampled <= 18  # binomial(100, 0.1), four sd
    assert SAMPLED == 0.1


async def test_a_reviewer_is_shown_what_was_tried_near(lab: Lab) -> None:
    about: dict[str, Any] = {"author": "proposer-llm", "session": "s", "task": "bowl", "created_at": 0}
    about |= {
        "kind": Kind.HYPOTHESIS,
        "title": "a start",
        "body": "b",
        "factors": ("X",),
        "data": {"changes": {"X": 2.1}},
    }
    for name in ("s-e001", "s-e002"):
        lab.notebook.append(Entry(id=f"{name}-hypothesis", experiment=name, **about))
    with endpoint([verdict("APPROVED")]) as server:
        reviewer = ModelReviewer(lab.mind(server, "reviewer-llm"), lab.notebook, session="s", task=lab.task, seed=0)
        proposal = replace(PROPOSAL, changes={"X": 2.0})
        await reviewer.judge("s-e002", proposal, ReviewContext(parent_source=TRAIN, ranges={}))
    shown = prompt_of(server.requests[0])
    assert "s-e001 (configuration 0.02 apart): not over yet" in shown
    assert "s-e002 (configuration" not in shown


async def test_what_came_back_is_shown_to_its_author(lab: Lab) -> None:
    about: dict[str, Any] = {"session": "s", "task": "bowl", "experiment": "s-e001"}
    hypothesis = Entry(
        id="s-e001-hypothesis",
        kind=Kind.HYPOTHESIS,
        title="abs is gentler",
        body="b",
        author="proposer-llm",
        created_at=0,
        **about,
    )
    review = Entry(
        id="s-e001-review",
        kind=Kind.REVIEW,
        title="r",
        body="- say first by how much",
        author="reviewer-llm",
        created_at=1,
        data={"verdict": "REVISE"},
        links=(Link(kind=Relation.DERIVED_FROM, target="s-e001-hypothesis"),),
        **about,
    )
    lab.notebook.append(hypothesis)
    lab.notebook.append(review)
    with endpoint([proposals(idea())]) as server:
        await proposer(lab, server).propose(lab.brief())
    assert "REVISE: abs is gentler\n- say first by how much" in prompt_of(server.requests[0])


# ---- the forms and the prompts -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", [Proposals, Verdict, Reading, Finding, Pages])
def test_a_form_is_a_schema_that_strict_servers_take(form: Any) -> None:
    """Every object names all of its fields as required and allows no others."""

    def objects(schema: Any) -> Iterator[dict[str, Any]]:
        if isinstance(schema, dict):
            if schema.get("type") == "object":
                yield schema
            for value in schema.values():
                yield from objects(value)
        elif isinstance(schema, list):
            for value in schema:
                yield from objects(value)

    found = list(objects(json.loads(json.dumps(form.model_json_schema()))))
    assert found
    for schema in found:
        assert schema["additionalProperties"] is False
        assert sorted(schema["required"]) == sorted(schema["properties"])


@pytest.mark.parametrize("role", ROLES.values(), ids=lambda role: role.name)
def test_a_prompt_names_nothing_that_it_is_not_given(role: Any) -> None:
    with pytest.raises(SwarmError, match="names a variable that the"):
        rendered(role, {"instructions": ""})
