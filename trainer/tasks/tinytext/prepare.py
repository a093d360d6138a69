"""Builds the data of tinytext, once: real technical English that is on the machine after the install.

Docstrings over 200 characters of the pinned torch, numpy, sympy, networkx and scipy, found by parsing the
installed sources (nothing is imported), cut into train, val and holdout by module, encoded with a byte-level
BPE of 2,048 tokens (Sennrich et al., arXiv 1508.07909) that is learnt from the training split alone.

Writes into the folder given as the one argument:

    train.bin               uint16 tokens, what a candidate trains on
    meta.json               {"vocab_size", "window"}
    judge/val.bin           uint16 tokens, for the judge alone
    judge/holdout.bin       uint16 tokens, for the judge alone, at confirmation
    judge/val.txt           the text itself, and holdout.txt: a candidate that quotes it is rejected
    judge/token_bytes.bin   uint16 length of each token in bytes

This file is protected: a candidate may import its constants, and change nothing.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import heapq
import json
import re
import sys
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

VOCAB_SIZE = 2048  # tokens: 256 bytes, one separator, and what BPE learns
SEPARATOR = 256  # token between two docstrings; stands for one newline
WINDOW = 256  # tokens the judge shows a model at once
PACKAGES = ("torch", "numpy", "sympy", "networkx", "scipy")
# The judge's text comes from packages that no candidate needs, so that a sandbox can hide their sources.
HELD_OUT_PACKAGES = ("networkx", "scipy")
HELD_OUT_SHARE = 0.10  # of the modules of those packages, for each of val and holdout
SHARD_TOKENS = 32 * 1024  # most tokens in a judge's shard: scoring one should cost about a CPU-second
MIN_CHARS = 200  # shorter docstrings are mostly signatures
TRAIN_WORDS = 12_000  # most frequent words that BPE learns from; the tail changes no merge that matters
CODE_NOT_PROSE = ("torch._inductor", "torch._dynamo", "torch.distributed")  # much code, little prose
WORD = re.compile(r" ?[A-Za-z]+| ?[0-9]{1,3}| ?[^\sA-Za-z0-9]+|\s+(?=\s)|\s")
LONG_STRING = re.compile(r"(\"\"\"|''')(?:(?!\1).){200}", re.DOTALL)


# ---------------------------------------------------------------------------------------------------------
# Act 1: collect the docstrings
# ---------------------------------------------------------------------------------------------------------


def module_files() -> list[tuple[str, Path]]:
    """(module name, source file) of every module but the tests, sorted by name."""
    found = []
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise SystemExit(f"package {package} is not installed; install the pinned requirements")
        root = Path(next(iter(spec.submodule_search_locations)))
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join((package, *parts))
            if not {"tests", "test", "testing", "conftest"} & set(parts) and not name.startswith(CODE_NOT_PROSE):
                found.append((name, path))
    return sorted(found)


def docstrings(item: tuple[str, Path]) -> list[str]:
    """The long docstrings of one source file, in order."""
    source = item[1].read_text(encoding="utf-8", errors="ignore")
    if not LONG_STRING.search(source):
        return []
    texts = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = node.value.value
        elif isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[-1], ast.Constant):
            text = node.args[-1].value  # torch and numpy attach many with add_docstr(function, text)
        else:
            continue
        if isinstance(text, str) and len(text) > MIN_CHARS:
            texts.append("\n".join(line.rstrip() for line in text.splitlines()))
    return texts


def split_of(module: str) -> str:
    """Which split a module belongs to, by a hash of its name alone."""
    if module.split(".", maxsplit=1)[0] not in HELD_OUT_PACKAGES:
        return "train"
    share = int.from_bytes(hashlib.sha256(module.encode()).digest()[:4], "big") / 2**32
    return "val" if share < HELD_OUT_SHARE else "holdout" if share < 2 * HELD_OUT_SHARE else "train"


def collect() -> dict[str, list[str]]:
    """Docstrings per split, without repeats: a text met in two splits stays in train alone."""
    files = module_files()
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    with context.Pool(2, initializer=gc.disable) as pool:  # syntax trees have no cycles worth looking for
        found = pool.map(docstrings, files, chunksize=64)
    owner: dict[str, str] = {}
    for split in ("train", "val", "holdout"):
        for (module, _), texts in zip(files, found, strict=True):
            if split_of(module) == split:
                for text in texts:
                    owner.setdefault(text, split)
    splits: dict[str, list[str]] = {"train": [], "val": [], "holdout": []}
    for text, split in owner.items():
        splits[split].append(text)
    return splits


# ---------------------------------------------------------------------------------------------------------
# Act 2: learn the tokens
# ---------------------------------------------------------------------------------------------------------


def learn_merges(words: Iterable[tuple[bytes, int]], merges: int) -> list[tuple[int, int]]:
    """Byte-pair merges, best first, from (word, count); token 257 + i is the i-th merge."""
    sequences = [(list(word), count) for word, count in words if len(word) > 1]
    counts: Counter[tuple[int, int]] = Counter()
    where: defaultdict[tuple[int, int], set[int]] = defaultdict(set)
    for index, (tokens, count) in enumerate(sequences):
        for pair in pairwise(tokens):
            counts[pair] += count
            where[pair].add(index)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    learnt: list[tuple[int, int]] = []
    while len(learnt) < merges and heap:
        count, pair = heapq.heappop(heap)
        if -count != counts[pair]:  # stale: counts only fall for a pair that is not pushed again
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        new = SEPARATOR + 1 + len(learnt)
        learnt.append(pair)
        grown = set()
        for index in where.pop(pair):
            tokens, weight = sequences[index]
            for old in pairwise(tokens):
                counts[old] -= weight
            tokens[:] = merge(tokens, pair, new)
            for fresh in pairwise(tokens):
                counts[fresh] += weight
                where[fresh].add(index)
                if new in fresh:
                    grown.add(fresh)
        for fresh in grown:
            heapq.heappush(heap, (-counts[fresh], fresh))
    return learnt


def merge(tokens: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """`tokens` with every `pair` replaced by `new`, from the left."""
    out, i, last = [], 0, len(tokens) - 1
    while i <= last:
        if i < last and tokens[i] == pair[0] and tokens[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(tokens[i])
            i += 1
    return out


# ---------------------------------------------------------------------------------------------------------
# Act 3: encode and write
# ---------------------------------------------------------------------------------------------------------


class Encoder:
    """Encodes text with learnt merges; each distinct word is worked out once."""

    def __init__(self, merges: list[tuple[int, int]]) -> None:
        self.ranks = {pair: SEPARATOR + 1 + i for i, pair in enumerate(merges)}
        self.known: dict[str, array[int]] = {}

    def word(self, word: str) -> array[int]:
        tokens = list(word.encode())
        while len(tokens) > 1:
            new, pair = min((self.ranks.get(p, VOCAB_SIZE), p) for p in pairwise(tokens))
            if new == VOCAB_SIZE:
                break
            tokens = merge(tokens, pair, new)
        return array("H", tokens)

    def texts(self, texts: Iterable[str]) -> Iterator[array[int]]:
        for text in texts:
            out = array("H")
            for word in WORD.findall(text):
                if word not in self.known:
                    self.known[word] = self.word(word)
                out.extend(self.known[word])
            out.append(SEPARATOR)
            yield out


def token_bytes(merges: list[tuple[int, int]]) -> list[int]:
    """Length in bytes of every token."""
    lengths = [1] * (SEPARATOR + 1)
    for left, right in merges:
        lengths.append(lengths[left] + lengths[right])
    return lengths


def shuffled(texts: list[str]) -> list[str]:
    """The texts in an order that depends on their content alone, so that a shard's start is a fair sample."""
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest())


def main(folder: Path) -> None:
    """Collect, learn, encode and write, with a line of progress for each."""
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - start:5.1f} s  {text}", flush=True)

    splits = {name: shuffled(texts) for name, texts in collect().items()}
    for name, texts in splits.items():
        say(f"{name}: {len(texts)} docstrings, {sum(map(len, texts)) / 1e6:.2f} million characters")
    counted: Counter[str] = Counter()
    for text in splits["train"]:
        counted.update(WORD.findall(text))
    frequent = [(word.encode(), count) for word, count in counted.most_common(TRAIN_WORDS)]
    merges = learn_merges(frequent, VOCAB_SIZE - SEPARATOR - 1)
    if len(merges) != VOCAB_SIZE - SEPARATOR - 1:
        raise SystemExit("too little text to learn the tokens from; are the pinned packages installed whole?")
    say(f"learnt {len(merges)} merges from {len(frequent)} words")
    encoder = Encoder(merges)
    (folder / "judge").mkdir(parents=True, exist_ok=True)
    for name, path in (("train", "train.bin"), ("val", "judge/val.bin"), ("holdout", "judge/holdout.bin")):
        tokens, taken = array("H"), 0
        for part in encoder.texts(splits[name]):
            tokens.extend(part)
            taken += 1
            if name != "train" and len(tokens) > SHARD_TOKENS:
                break
        if name != "train":
            (folder / path).with_suffix(".txt").write_bytes("\n".join(splits[name][:taken]).encode())
        write_uint16(folder / path, tokens if name == "train" else tokens[: SHARD_TOKENS + 1])
        say(f"{name}: {len(tokens)} tokens")
    write_uint16(folder / "judge" / "token_bytes.bin", array("H", token_bytes(merges)))
    (folder / "meta.json").write_text(json.dumps({"vocab_size": VOCAB_SIZE, "window": WINDOW}) + "\n")


def write_uint16(path: Path, values: array[int]) -> None:
    """Write little-endian uint16."""
    if sys.byteorder == "big":
        values.byteswap()
    path.write_bytes(values.tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
