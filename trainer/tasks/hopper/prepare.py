"""Builds the data of hopper, once, from a folder of text shards that the user has fetched (program.md says how).

The folder is named by NIGHTSWARM_SHARDS, else it is ~/.cache/nightswarm/climbmix. Shards are .parquet or .jsonl files
with a `text` column, or .txt files with documents parted by blank lines. The last shard by name is held out: val from
its first half, holdout from its second. The 8,192 byte-level BPE tokens are learnt from the other shards alone.

Writes into the folder given as the one argument what docs/tasks.md asks of a judged task.

This file is protected: a candidate may import its constants, and change nothing.
"""

from __future__ import annotations

import json
import os
import sys
import time
from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

VOCAB_SIZE = 8192  # tokens: the separator, 256 bytes, and what BPE learns
SEPARATOR = 0  # token after every document; stands for one newline
WINDOW = 2048  # tokens the judge shows a model at once
SHARD_WINDOWS = 512  # most windows in each of val and holdout
MAX_TRAIN_TOKENS = 1_200_000_000  # more than five minutes can use
TOKENIZER_CHARS = 300_000_000  # most characters that BPE learns from
DOCUMENT_CHARS = 10_000  # of one document, for learning the tokens
BATCH = 2_000  # documents encoded at once
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def shards() -> list[Path]:
    """The user's shards, sorted by name."""
    folder = Path(os.environ.get("NIGHTSWARM_SHARDS", "~/.cache/nightswarm/climbmix")).expanduser()
    found = sorted(p for p in folder.glob("*") if p.suffix in (".parquet", ".jsonl", ".txt"))
    if len(found) < 2:
        raise SystemExit(
            f"{folder} has {len(found)} shards (.parquet, .jsonl, .txt), and two are needed: one is held out; "
            "fetch some as the task's program.md says, or set NIGHTSWARM_SHARDS"
        )
    return found


def documents(path: Path) -> Iterator[str]:
    """The documents of one shard, in order."""
    if path.suffix == ".txt":
        yield from (text for text in path.read_text(encoding="utf-8", errors="replace").split("\n\n") if text.strip())
    elif path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as file:
            yield from (json.loads(line)["text"] for line in file)
    else:
        try:
            import pyarrow.parquet
        except ImportError:
            raise SystemExit("reading .parquet shards needs pyarrow: pip install pyarrow") from None
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(columns=["text"]):
            yield from batch.column("text").to_pylist()


def learn(paths: list[Path]):
    """The tokenizer, from the first TOKENIZER_CHARS characters of the shards."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    def texts() -> Iterator[str]:
        left = TOKENIZER_CHARS
        for path in paths:
            for text in documents(path):
                yield text[:DOCUMENT_CHARS]
                left -= min(len(text), DOCUMENT_CHARS)
                if left <= 0:
                    return

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, as_bytes])
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<|separator|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    if tokenizer.get_vocab_size() != VOCAB_SIZE:
        raise SystemExit(f"the shards hold too little text to learn {VOCAB_SIZE} tokens from; fetch more")
    return tokenizer


def encoded(tokenizer, path: Path) -> Iterator[tuple[str, array[int]]]:
    """(text, its tokens and a separator) of every document of one shard."""
    texts = documents(path)
    while batch := list(islice(texts, BATCH)):
        for text, found in zip(batch, tokenizer.encode_batch_fast(batch), strict=True):
            yield text, array("H", [*found.ids, SEPARATOR])


def write_held_out(folder: Path, tokenizer, path: Path) -> None:
    """Val from the shard's first half, holdout from its second, with their texts."""
    found = list(encoded(tokenizer, path))
    for name, part in (("val", found[: len(found) // 2]), ("holdout", found[len(found) // 2 :])):
        tokens, texts = array("H"), []
        for text, ids in part:
            if len(tokens) > SHARD_WINDOWS * WINDOW:
                break
            tokens.extend(ids)
            texts.append(text)
        if len(tokens) <= WINDOW:
            raise SystemExit(
                f"the held-out shard {path} is shorter than two windows of {WINDOW} tokens; give a longer one"
            )
        write_uint16(folder / f"{name}.bin", tokens[: SHARD_WINDOWS * WINDOW + 1])
        (folder / f"{name}.txt").write_text("\n".join(texts), encoding="utf-8")


def main(folder: Path) -> None:
    """Learn, encode and write, with a line of progress for each."""
    start = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - start:5.1f} s  {text}", flush=True)

    *training, held_out = shards()
    tokenizer = learn(training)
    say(f"learnt {VOCAB_SIZE} tokens from {len(training)} shards")
    (folder / "judge").mkdir(parents=True, exist_ok=True)
    write_held_out(folder / "judge", tokenizer, held_out)
    lengths = array("H", [1] * VOCAB_SIZE)
    for piece, number in tokenizer.get_vocab().items():
        if number != SEPARATOR:
            lengths[number] = len(piece)  # one character of the byte-level alphabet stands for one byte
    write_uint16(folder / "judge" / "token_bytes.bin", lengths)
    written = 0
    with (folder / "train.bin").open("wb") as file:
        for path in training:
            for _, tokens in encoded(tokenizer, path):
                file.write(little_endian(tokens))
                written += len(tokens)
            say(f"{path.name}: {written / 1e6:.1f} million tokens for training")
            if written > MAX_TRAIN_TOKENS:
                break
    (folder / "meta.json").write_text(json.dumps({"vocab_size": VOCAB_SIZE, "window": WINDOW}) + "\n")


def little_endian(values: array[int]) -> bytes:
    """The values as little-endian uint16."""
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def write_uint16(path: Path, values: array[int]) -> None:
    """Write little-endian uint16."""
    path.write_bytes(little_endian(values))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
