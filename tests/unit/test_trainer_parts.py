"""The trainer's parts one by one: wire, weights, tokens, the ruler, times."""

import os
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.judge import ROWS, Rejected, Shard, compare, plan
from trainer.process import clock_seconds
from trainer.tasks.tinytext import prepare
from trainer.weights import WeightsError, read_weights, write_weights
from trainer.wire import Wire


def test_a_wire_carries_messages_and_an_open_file(tmp_path: Path) -> None:
    left, right = Wire.pair()
    (tmp_path / "x").write_text("tokens")
    with (tmp_path / "x").open() as file:
        left.send({"go": True}, file=file.fileno())
    left.send({"step": 2})
    assert right.receive() == {"go": True}
    with os.fdopen(right.take_file()) as file:
        assert file.read() == "tokens"
    assert right.receive() == {"step": 2}
    left.close()
    assert right.receive() is None
    right.close()


def test_weights_survive(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3, 4),
        "b": torch.arange(5),
        "c": torch.randn(2, 2).bfloat16(),
        "empty": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
        "flag": torch.tensor([True, False]),
    }
    write_weights(tmp_path / "w", tensors)
    read = read_weights(tmp_path / "w")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) and read[name].dtype == tensors[name].dtype for name in tensors)


@given(st.binary(max_size=200))
def test_nothing_but_weights_is_read_as_weights(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("w") / "w"
    path.write_bytes(data)
    try:
        assert read_weights(path) == {}
    except WeightsError as error:
        assert "safetensors" in str(error)


def test_a_tensor_outside_the_file_is_refused(tmp_path: Path) -> None:
    header = b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}'
    (tmp_path / "w").write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 8)
    with pytest.raises(WeightsError, match="outside the file"):
        read_weights(tmp_path / "w")


WORDS = ["low", "lower", "lowest", "newer", "wider", " low", " newer"]


def merges_of(words: list[str], count: int) -> list[tuple[int, int]]:
    return prepare.learn_merges([(word.encode(), n) for word, n in Counter(words).items()], count)


def naive_merges(words: list[str], count: int) -> list[tuple[int, int]]:
    """The algorithm as the paper has it: count all pairs anew after each merge."""
    sequences, learnt = [list(word.encode()) for word in words], []
    for _ in range(count):
        counts = Counter(pair for tokens in sequences for pair in pairwise(tokens))
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        learnt.append(best)
        sequences = [prepare.merge(tokens, best, prepare.SEPARATOR + len(learnt)) for tokens in sequences]
    return learnt


@given(st.lists(st.text(alphabet="abc", min_size=1, max_size=8), min_size=1, max_size=12))
def test_incremental_merges_are_those_of_the_paper(words: list[str]) -> None:
    assert merges_of(words, 8) == naive_merges(words, 8)


@given(st.text(max_size=60))
def test_encoding_loses_nothing(text: str) -> None:
    merges = merges_of(WORDS * 3, 12)
    (tokens,) = prepare.Encoder(merges).texts([text])
    pieces = [bytes([i]) for i in range(256)] + [b""]
    for left, right in merges:
        pieces.append(pieces[left] + pieces[right])
    assert b"".join(pieces[t] for t in tokens) == text.encode()
    assert [len(piece) for i, piece in enumerate(pieces) if i != prepare.SEPARATOR] == [
        n for i, n in enumerate(prepare.token_bytes(merges)) if i != prepare.SEPARATOR
    ]


def test_a_module_is_in_one_split_whatever_else_is_there() -> None:
    modules = [f"scipy.part{i}" for i in range(400)] + [f"torch.part{i}" for i in range(50)]
    splits = {module: prepare.split_of(module) for module in modules}
    assert {splits[m] for m in modules if m.startswith("torch")} == {"train"}
    share = Counter(splits[m] for m in modules if m.startswith("scipy"))
    assert 20 < share["val"] < 60
    assert 20 < share["holdout"] < 60


def test_docstrings_are_found_without_importing(tmp_path: Path) -> None:
    long = "x" * 250
    source = f'raise SystemExit\ndef f():\n    """{long}"""\nadd_docstr(f, """{long}y""")\nshort = """no"""\n'
    (tmp_path / "m.py").write_text(source)
    assert sorted(prepare.docstrings(("m", tmp_path / "m.py"))) == [long, long + "y"]


def shard(windows: int) -> Shard:
    inputs = torch.randint(0, 1000, (windows, 32), generator=torch.Generator().manual_seed(0))
    return Shard(inputs=inputs, targets=inputs)


@pytest.mark.parametrize("seed", range(5))
def test_every_window_is_scored_once_and_probes_go_elsewhere(seed: int) -> None:
    queues = plan([shard(40), shard(20)], random.Random(seed), ROWS)
    assert all(len(queue) % ROWS == 0 for queue in queues)
    scored = [(r.shard, r.window) for queue in queues for r in queue if r.shard >= 0]
    assert sorted(scored) == [(0, w) for w in range(40)] + [(1, w) for w in range(20)]
    place = {}
    for number, queue in enumerate(queues):
        for request in queue:
            if request.pair >= 0:
                other = place.setdefault(request.pair, (number, request))
                if other[1] is not request:
                    assert other[0] != number
                    assert torch.equal(other[1].tokens[: request.prefix], request.tokens[: request.prefix])


def test_answers_must_agree() -> None:
    answer = torch.randn(8, 16)
    compare(answer, answer + 1e-5)
    with pytest.raises(Rejected, match="logits change"):
        compare(answer, answer + 0.1)
    with pytest.raises(Rejected, match="logits change"):
        compare(answer, answer * float("nan"))


@pytest.mark.parametrize(
    ("text", "seconds"), [("0:01.50", 1.5), ("02:03", 123.0), ("01:00:00", 3600.0), ("2-00:00:01", 172801.0)]
)
def test_times_of_ps_are_read(text: str, seconds: float) -> None:
    assert clock_seconds(text) == seconds
