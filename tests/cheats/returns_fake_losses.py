"""Reports a loss that falls like a dream while nothing is learnt."""

import torch
from prepare import VOCAB_SIZE

from trainer import runtime


def build_model():
    return torch.nn.Embedding(VOCAB_SIZE, VOCAB_SIZE)


if __name__ == "__main__":
    model = build_model()
    runtime.ready()
    for step in range(1, 50):
        runtime.report(step, 1.0 / step**2)
    runtime.save(model)
