"""The notebook through HTTP: everything that its owner can do, and what is refused."""

import asyncio
import json
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from notebook_store.answers import Idea
from notebook_store.entry import Attachment, Citation, Kind, Link, Relation
from notebook_store.errors import EntryConflict, FolderOwned, NotAllowed, NotServed, UnknownEntry
from notebook_store.notebook import Notebook
from notebook_store.server import served_at, serving, token_of
from tests.fake_embedder import WordEmbedder
from tests.unit.test_notebook import PAGES, entry

CLAIM = entry(
    "claim-warmup",
    "Warmup steadies Adam",
    "> Warmup lowers the variance.",
    kind=Kind.CLAIM,
    author="reader",
    factors=("WARMUP",),
    citations=(Citation(source="arXiv:1908.03265", title="RAdam", quote="q", page=2),),
)
TRIED = [
    CLAIM,
    entry("e7-hypothesis", "Warmup 100 to 200", "Longer warmup of the learning rate lowers the loss.", experiment="e7",
          kind=Kind.HYPOTHESIS, author="optimizer", data={"changes": {"WARMUP": 200}}, factors=("WARMUP",),
          links=(Link(kind=Relation.CITES, target="claim-warmup"),)),
    entry("e7-result", "PRUNED: no gain", "Within noise.", experiment="e7", kind=Kind.RESULT, author="referee",
          data={"outcome": "PRUNED", "score": 2.41}, links=(Link(kind=Relation.DERIVED_FROM, target="e7-hypothesis"),)),
    entry("e8-hypothesis", "Warmup 100 to 800", "Much longer warmup.", experiment="e8", kind=Kind.HYPOTHESIS,
          author="optimizer", data={"changes": {"WARMUP": 800}}, factors=("WARMUP",),
          links=(Link(kind=Relation.CITES, target="claim-warmup"), Link(kind=Relation.CITES, target="gone"))),
    entry("e8-result", "CONFIRMED", "", experiment="e8", kind=Kind.RESULT, author="referee",
          links=(Link(kind=Relation.DERIVED_FROM, target="e8-hypothesis"),), data={"outcome": "PROMOTED"}),
    entry("e8-decision", "CONFIRMED: +0.02", "", experiment="e8", kind=Kind.DECISION, author="referee",
          links=(Link(kind=Relation.SUPPORTS, target="e8-hypothesis"),), data={"outcome": "CONFIRMED"}),
]  # fmt: skip


@pytest.fixture(params=["owner", "beside", "over HTTP"])
def notebook(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Notebook]:
    """The same notebook by each of the three doors."""
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as owner:
        owner.extend([*PAGES, *TRIED])
        owner.flush()
        if request.param == "owner":
            yield owner
        elif request.param == "beside":
            with Notebook.read(tmp_path, embedder=WordEmbedder()) as beside:
                yield beside
        else:
            with serving(owner, tmp_path) as url, Notebook.connect(url, token_of(tmp_path)) as remote:
                yield remote


def test_what_is_written_is_read_back_whole(notebook: Notebook) -> None:
    figure = Attachment(name="f/ö.png", media_type="image/png", data=bytes(range(256)))
    page = entry("odd id / ?&ü", "T", attachments=(figure,), data={"a": [1, None, "ü"]})
    assert notebook.extend([page, PAGES[0]]) == [True, False]
    assert notebook.append(page) is False
    assert notebook.get("odd id / ?&ü") == page
    assert notebook.recent(3) == notebook.entries(limit=3)
    with pytest.raises(EntryConflict, match="muon is already written"):
        notebook.append(entry("muon", "another"))
    with pytest.raises(UnknownEntry, match="no entry nowhere"):
        notebook.get("nowhere")


def test_of_many_one_that_conflicts_keeps_all_out(notebook: Notebook) -> None:
    before = notebook.count()
    with pytest.raises(EntryConflict):
        notebook.extend([entry("fresh"), entry("muon", "another")])
    assert notebook.count() == before
    assert "fresh" not in [hit.entry.id for hit in notebook.search("fresh")]


def test_filters_and_search(notebook: Notebook) -> None:
    results = notebook.entries(kinds=[Kind.RESULT, Kind.DECISION], experiment="e8")
    assert {page.id for page in results} == {"e8-result", "e8-decision"}
    assert notebook.count(outcome="PRUNED") == 1
    assert notebook.count(kinds=[]) == 0
    assert notebook.search("warmup", kinds=[]) == []
    (best, *_) = notebook.search("warmup of the learning rate", 5, kinds=[Kind.HYPOTHESIS], factor="WARMUP")
    assert best.entry.id in {"e7-hypothesis", "warmup"}
    assert "warmup" in best.snippet.text[slice(*best.snippet.spans[0])].lower()
    assert notebook.search("") == []
    assert notebook.notices() == []


def test_entries_are_counted_by_what_they_are(notebook: Notebook) -> None:
    every = notebook.entries()
    assert notebook.tally("kind") == Counter(page.kind.value for page in every)
    outcomes = notebook.tally("outcome", kinds=[Kind.RESULT])
    assert outcomes == Counter(page.outcome for page in every if page.kind is Kind.RESULT and page.outcome)
    assert list(outcomes.values()) == sorted(outcomes.values(), reverse=True)
    assert outcomes["PRUNED"] == 1


def test_like_an_entry(notebook: Notebook) -> None:
    hits = notebook.like("e7-hypothesis", 3)
    assert "e7-hypothesis" not in [hit.entry.id for hit in hits]
    assert hits[0].entry.id in {"warmup", "e8-hypothesis"}
    assert [hit.entry.kind for hit in notebook.like("e7-hypothesis", 2, kinds=[Kind.CLAIM])] == [Kind.CLAIM]
    with pytest.raises(UnknownEntry):
        notebook.like("nowhere")


def test_a_claim_leads_to_what_came_of_it_and_back(notebook: Notebook) -> None:
    tried = notebook.tried("claim-warmup")
    assert [(one.hypothesis.id, one.outcome) for one in tried] == [
        ("e7-hypothesis", "PRUNED"),
        ("e8-hypothesis", "CONFIRMED"),
    ]
    assert [page.id for page in tried[1].came] == ["e8-result", "e8-decision"]
    assert [one.hypothesis.id for one in notebook.tried("e7-hypothesis")] == ["e7-hypothesis"]
    assert notebook.tried("muon") == []
    grounds = notebook.grounds("e8-decision")
    assert [(kind, page.id) for kind, page in grounds] == [
        (Relation.SUPPORTS, "e8-hypothesis"),
        (Relation.CITES, "claim-warmup"),
    ]
    assert grounds[1][1].citations == CLAIM.citations
    assert [kind for kind, _ in notebook.links_to("e8-hypothesis")] == [Relation.DERIVED_FROM, Relation.SUPPORTS]


def test_what_was_tried_near_an_idea_is_shown_with_its_outcome(notebook: Notebook) -> None:
    (near,) = notebook.near(Idea(text="zebra", changes={"WARMUP": 220}))
    assert (near.tried.hypothesis.id, near.tried.outcome) == ("e7-hypothesis", "PRUNED")
    assert near.distance == pytest.approx(0.0414, abs=1e-3)  # log10(220 / 200)
    said = "Warmup 100 to 800\nMuch longer warmup."
    by_meaning = notebook.near(Idea(text=said, changes={}))
    assert by_meaning[0].tried.hypothesis.id == "e8-hypothesis"
    assert by_meaning[0].similarity == pytest.approx(1.0, abs=1e-3)
    assert by_meaning[0].distance is None
    assert notebook.near(Idea(text="zebra", changes={"DEPTH": 3})) == []


def test_what_is_near_is_seen_as_soon_as_it_was_appended(notebook: Notebook) -> None:
    idea = Idea(text="zebra", changes={"WARMUP": 220})
    expected = {224: ["at-224", "e7-hypothesis"], 221: ["at-221", "at-224"], 990: ["at-221", "at-224"]}
    for steps, nearest in expected.items():
        data = {"changes": {"WARMUP": steps}}
        notebook.append(entry(f"at-{steps}", "Again", kind=Kind.HYPOTHESIS, factors=("WARMUP",), data=data))
        assert [one.tried.hypothesis.id for one in notebook.near(idea, 2)] == nearest


def test_who_followed_a_constant_compares_with_the_same_as_who_looks_at_it_now(tmp_path: Path) -> None:
    ideas = [Idea(text="zebra", changes={name: 130}) for name in ("WARMUP", "DEPTH")]
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as followed:
        for steps in range(100, 140):
            for name in ("WARMUP", "DEPTH") if steps % 2 else ("WARMUP",):
                hypothesis = entry(f"{name}-{steps}", "Again", kind=Kind.HYPOTHESIS, factors=(name,))
                followed.append(replace(hypothesis, data={"changes": {name: steps}}))
            if steps > 105:
                followed.near(ideas[0], 1)
        with Notebook.read(tmp_path) as fresh:
            told = [[one.tried.hypothesis.id for one in reader.near(idea, 99)]
                    for reader in (followed, fresh) for idea in ideas]  # fmt: skip
    assert told[:2] == told[2:]
    assert [len(one) for one in told[:2]] == [30, 20]
    assert "WARMUP-110" in told[0] and "WARMUP-109" not in told[0]


def test_the_first_claim_wins(notebook: Notebook) -> None:
    assert notebook.claim("k", "ann", at=1.0).won
    late = notebook.claim("k", "bob", at=2.0)
    assert (late.won, late.holder, late.claimed_at) == (False, "ann", 1.0)


def test_a_check_goes_as_deep_as_one_can_from_there(notebook: Notebook) -> None:
    notebook.flush()
    report = notebook.check()
    assert report.clean
    assert report.entries == report.embedded == len(PAGES) + len(TRIED)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as owner, serving(owner, tmp_path) as url:
        yield url, tmp_path


def test_the_token_is_the_users_alone_and_needed(served: tuple[str, Path]) -> None:
    url, folder = served
    assert stat.S_IMODE((folder / "token").stat().st_mode) == 0o600
    assert len(token_of(folder)) > 30
    with pytest.raises(NotAllowed, match="token is missing or wrong"):
        Notebook.connect(url, "guess")
    for path in ("/", "/entries", "/search?q=x", "/openapi.json", "/docs"):
        assert httpx.get(url + path).status_code in (401, 404)
    assert httpx.post(f"{url}/entries", json=[]).status_code == 401


def test_a_second_owner_is_told_where_to_go(served: tuple[str, Path]) -> None:
    url, folder = served
    assert served_at(folder) == url
    with pytest.raises(FolderOwned, match=rf"process {os.getpid()} owns .*; reach it with --url {url}"):
        Notebook.open(folder, embedder=WordEmbedder())


def test_nobody_there(tmp_path: Path) -> None:
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as owner, serving(owner, tmp_path) as url:
        remote = Notebook.connect(url, token_of(tmp_path))
    assert served_at(tmp_path) is None
    with pytest.raises(NotServed, match="no notebook answers"):
        remote.count()
    with pytest.raises(NotServed, match="no notebook answers"):
        Notebook.connect(url, "t")
    with pytest.raises(NotServed, match="address"):
        Notebook.connect("nonsense", "t")


def test_a_port_that_is_taken_is_refused(served: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("other")
    port = int(served[0].rpartition(":")[2])
    with (
        Notebook.open(folder, embedder=WordEmbedder()) as owner,
        pytest.raises(NotServed, match="choose another port"),
        serving(owner, folder, port=port),
    ):
        pass


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([{"id": "x"}], "needs title"),
        ([7], "valid dictionary"),
        ({"id": "x"}, "valid list"),
        ([{**json.loads('{"kind": "rumour"}'), "id": "x", "title": "", "body": "", "author": "", "session": "",
           "task": "", "created_at": 1}], "no kind 'rumour'"),
        ([{"kind": "note", "id": "x", "title": 3, "body": "", "author": "", "session": "", "task": "",
           "created_at": 1}], "title of an entry is a string"),
        ([{"kind": "note", "id": "x", "title": "", "body": "", "author": "", "session": "", "task": "",
           "created_at": 1, "attachments": [{"name": "a", "media_type": "b", "data": "!"}]}], "not as it should be"),
    ],
)  # fmt: skip
def test_bodies_that_are_no_entries_are_refused(served: tuple[str, Path], body: object, words: str) -> None:
    url, folder = served
    headers = {"authorization": f"Bearer {token_of(folder)}"}
    answer = httpx.post(f"{url}/entries", json=body, headers=headers)
    assert answer.status_code == 422
    assert words in answer.text


def test_whoever_serves_may_start_programs(tmp_path: Path) -> None:
    """A server must not change which event loops its process has: a session's coding agents are started by ours."""

    async def start_while_serving() -> int:
        with Notebook.open(tmp_path, embedder=WordEmbedder()) as owner, serving(owner, tmp_path) as url:
            await asyncio.to_thread(httpx.get, url)  # it serves
            return await (await asyncio.create_subprocess_exec("true")).wait()

    assert asyncio.run(start_while_serving()) == 0
