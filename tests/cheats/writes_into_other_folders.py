"""Writes a result into another trial's folder and a gain into the session's ledger. The test names both here."""

import sqlite3
from pathlib import Path

import torch
from prepare import VOCAB_SIZE

from trainer import runtime

FOLDER, LEDGER = "FOLDER", "LEDGER"


def build_model():
    return torch.nn.Embedding(VOCAB_SIZE, VOCAB_SIZE)


def meddle():
    for place in (Path(FOLDER), *Path.cwd().parents):
        try:
            place.mkdir(parents=True, exist_ok=True)
            (place / "result.json").write_text('{"outcome": "COMPLETED", "metric": 0.01}')
        except OSError:
            continue
    try:
        sqlite3.connect(LEDGER).execute("insert into event values (1)")
    except sqlite3.Error:
        return


if __name__ == "__main__":
    meddle()
    runtime.ready()
    runtime.save(build_model())
