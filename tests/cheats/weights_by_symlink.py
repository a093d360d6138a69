"""Saves a link to a file outside as its weights."""

from pathlib import Path

import torch
from prepare import VOCAB_SIZE

from trainer import runtime


def build_model():
    return torch.nn.Embedding(VOCAB_SIZE, VOCAB_SIZE)


if __name__ == "__main__":
    runtime.ready()
    Path(runtime.WEIGHTS).symlink_to("/etc/passwd")
    runtime._current().wire.send({"saved": True})
