"""Trains on the validation text from a copy in its own source. The test pastes it here, in two ways."""

from itertools import pairwise

import torch
from prepare import VOCAB_SIZE

from trainer import runtime

TEXT = b"PASTED"


def build_model():
    return torch.nn.Embedding(VOCAB_SIZE, VOCAB_SIZE)


if __name__ == "__main__":
    model = build_model()
    runtime.ready()
    with torch.no_grad():
        model.weight.fill_(0.01)
        for left, right in pairwise(TEXT):
            model.weight[left, right] += 1
        model.weight.log_()
    runtime.save(model)
