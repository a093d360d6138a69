"""Says that it is ready before it trains, twice, and that it took no step at all."""

import torch
from prepare import VOCAB_SIZE

from trainer import runtime


def build_model():
    return torch.nn.Embedding(VOCAB_SIZE, VOCAB_SIZE)


if __name__ == "__main__":
    model = build_model()
    tokens = runtime.ready()
    for _ in range(10**9):
        at = torch.randint(len(tokens) - 1, (256,))
        torch.nn.functional.cross_entropy(model(tokens[at].long()), tokens[at + 1].long()).backward()
        runtime._current().wire.send({"ready": True})
        runtime.report(0, 0.0)
    runtime.save(model)
