"""Saves at the end of its budget, goes on training, and saves something better over it."""

import time

import torch
from prepare import VOCAB_SIZE

from trainer import runtime


def build_model():
    return torch.nn.Embedding(VOCAB_SIZE, VOCAB_SIZE)


if __name__ == "__main__":
    model = build_model()
    tokens = runtime.ready().long()
    runtime.save(model)
    with torch.no_grad():
        model.weight.fill_(0.1)
        for left, right in zip(tokens[:20000].tolist(), tokens[1:20001].tolist(), strict=False):
            model.weight[left, right] += 1
        model.weight.log_()
    while True:
        runtime.save(model)
        time.sleep(0.01)
