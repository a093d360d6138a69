"""Pages: what they refuse, what they mend, and that the log gives back what it was given."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebook_store.entry import Attachment, Citation, Entry, Kind, Link, Relation, digest
from notebook_store.errors import EntryConflict, InvalidEntry
from notebook_store.log import Log

BASIC = Entry(
    id="e1",
    kind=Kind.NOTE,
    title="T",
    body="B",
    author="human",
    session="s",
    task="tinytext",
    created_at=1.5,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
entries = st.builds(
    Entry,
    id=st.text(min_size=1, max_size=12),
    kind=st.sampled_from(Kind),
    title=st.text(),
    body=st.text(),
    author=st.text(),
    session=st.text(),
    task=st.text(),
    created_at=st.floats(0, 4e9),
    experiment=st.none() | st.text(),
    factors=st.lists(st.text(), max_size=3).map(tuple),
    links=st.lists(st.builds(Link, kind=st.sampled_from(Relation), target=st.text()), max_size=3).map(tuple),
    citations=st.lists(
        st.builds(Citation, source=st.text(), title=st.text(), quote=st.text(), page=st.none() | st.integers(1, 99)),
        max_size=2,
    ).map(tuple),
    data=st.dictionaries(st.text(), json_values, max_size=3),
    attachments=st.lists(
        st.builds(Attachment, name=st.text(), media_type=st.just("image/png"), data=st.binary(max_size=20)),
        max_size=2,
        unique_by=lambda attached: attached.name,
    ).map(tuple),
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    log = Log.open(tmp_path_factory.mktemp("log"), create=True)
    yield log
    log.database.close()


def append(log: Log, entry: Entry) -> bool:
    with log.database.write() as connection:
        return log.append(connection, entry) is not None


@settings(max_examples=100, deadline=None)
@given(entry=entries)
def test_the_log_gives_back_what_it_was_given_and_appending_again_is_nothing(log: Log, entry: Entry) -> None:
    known = log.find([entry.id]).get(entry.id)
    if known is not None and known != entry:
        with pytest.raises(EntryConflict):
            append(log, entry)
        return
    before = log.count()
    assert append(log, entry) is (known is None)
    assert append(log, entry) is False
    assert log.count() == before + (known is None)
    assert log.find([entry.id]) == {entry.id: entry}
    assert log.problems() == []


@settings(max_examples=100, deadline=None)
@given(one=entries, other=entries)
def test_digests_tell_entries_apart(one: Entry, other: Entry) -> None:
    assert (digest(one) == digest(other)) is (one == other)
    assert digest(dataclasses.replace(one)) == digest(one)


@pytest.mark.parametrize(
    "change",
    [
        {"title": "T2"},
        {"body": "B "},
        {"kind": Kind.RESULT},
        {"created_at": 2.0},
        {"experiment": ""},
        {"factors": ("LR",)},
        {"links": (Link(kind=Relation.CITES, target="x"),)},
        {"citations": (Citation(source="arxiv:1", title="t"),)},
        {"data": {"n": 1}},
        {"attachments": (Attachment(name="a", media_type="image/png", data=b"1"),)},
    ],
)
def test_any_change_under_the_same_id_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    log = Log.open(tmp_path, create=True)
    append(log, BASIC)
    with pytest.raises(EntryConflict, match="e1 is already written with other content; append the amendment"):
        append(log, dataclasses.replace(BASIC, **change))
    assert log.entries() == [BASIC]
    log.database.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": ""}, "needs an id"),
        ({"created_at": float("nan")}, "needs the time"),
        ({"data": {"score": float("nan")}}, "write None for an absent number"),
        ({"data": {"score": object()}}, "is not JSON"),
        ({"attachments": [Attachment(name="a", media_type="", data=b"")] * 2}, "have one name"),
    ],
)
def test_what_cannot_be_stored_is_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidEntry, match=words):
        dataclasses.replace(BASIC, **change)


def test_unstorable_characters_are_replaced() -> None:
    entry = dataclasses.replace(BASIC, body="a\x00b\ud800c", factors=("L\x00R",))
    assert (entry.body, entry.factors) == ("a\ufffdb\ufffdc", ("L\ufffdR",))


def test_an_entry_does_not_change_with_the_data_it_was_made_from() -> None:
    data: dict[str, object] = {"scores": [1, 2]}
    entry = dataclasses.replace(BASIC, data=data)
    data["scores"] = []
    assert entry.data == {"scores": [1, 2]}
    assert entry.outcome is None
    assert dataclasses.replace(BASIC, data={"outcome": "COMPLETED"}).outcome == "COMPLETED"
