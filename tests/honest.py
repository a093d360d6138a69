"""Thirty honest candidates for the task `bigram` of docs/tasks.md: real files, made from one frame.

Each is something a researcher would try. None of them may be accused of anything.
"""

FRAME = '''"""An honest candidate: {name}."""

import math
import os
import tempfile

import torch
import torch.nn.functional as F
from prepare import VOCAB_SIZE
from torch import nn

from trainer import runtime

LEARNING_RATE = {learning_rate}
BATCH_SIZE = {batch}  # rows
LENGTH = {length}  # tokens of a row
WIDTH = {width}

{model}

def build_model():
    return {build}


def batch_of(tokens):
    starts = torch.randint(len(tokens) - LENGTH - 1, (BATCH_SIZE,))
    rows = tokens[starts[:, None] + torch.arange(LENGTH + 1)].long()
    return rows[:, :-1], rows[:, 1:]


def main():
    model = build_model().train()
    parameters = list(model.parameters())
    state = [torch.zeros_like(p) for p in parameters]
    tokens = runtime.ready()
    step = 0
    while (spent := runtime.fraction()) < 1:
        inputs, targets = batch_of(tokens)
        loss = F.cross_entropy(model(inputs).flatten(0, 1).float(), targets.flatten())
        loss.backward()
        with torch.no_grad():
            for p, kept in zip(parameters, state, strict=True):
                {update}
                p.grad = None
        step += 1
        runtime.report(step, loss.item())
        {extra}
    {finish}
    runtime.save(model)


if __name__ == "__main__":
    main()
'''

SGD = "p -= LEARNING_RATE * p.grad"
MOMENTUM = "kept.mul_(0.9).add_(p.grad); p -= LEARNING_RATE * kept"
SIGN = "kept.lerp_(p.grad, 0.1); p -= LEARNING_RATE * kept.sign()"
RMS = "kept.lerp_(p.grad.square(), 0.05); p -= LEARNING_RATE * p.grad / (kept.sqrt() + 1e-6)"

CONTEXT = '''
class Model(nn.Module):
    """The last {k} tokens, each embedded for its distance, through an MLP."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(VOCAB_SIZE, WIDTH) for _ in range({k}))
        self.out = nn.Linear(WIDTH, VOCAB_SIZE)

    def forward(self, tokens):
        x = 0
        for distance, table in enumerate(self.tables):
            x = x + F.pad(table(tokens), (0, 0, distance, 0))[:, : tokens.shape[1]]
        return self.out({activation})
'''

RECURRENT = '''
class Model(nn.Module):
    """A recurrent network."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, WIDTH)
        self.cell = nn.{cell}(WIDTH, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, VOCAB_SIZE)

    def forward(self, tokens):
        return self.out(self.cell(self.embedding(tokens))[0])
'''

CONVOLUTION = '''
class Model(nn.Module):
    """Causal convolutions, padded on the left."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, WIDTH)
        self.layers = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, dilation=d) for d in {dilations})
        self.out = nn.Linear(WIDTH, VOCAB_SIZE)

    def forward(self, tokens):
        x = self.embedding(tokens).transpose(1, 2)
        for layer in self.layers:
            x = x + F.gelu(layer(F.pad(x, (2 * layer.dilation[0], 0))))
        return self.out(x.transpose(1, 2))
'''

TRANSFORMER = '''
class Model(nn.Module):
    """One block of causal attention."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, WIDTH)
        self.position = nn.Embedding(64, WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.norm = nn.{norm}(WIDTH)
        self.dropout = nn.Dropout({dropout})
        self.out = nn.Linear(WIDTH, VOCAB_SIZE, bias=False)
        {tie}

    def forward(self, tokens):
        rows, length = tokens.shape
        x = self.embedding(tokens) + self.position.weight[:length]
        q, k, v = self.qkv(self.norm(x)).view(rows, length, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4)
        {attention}
        x = x + self.dropout(y.transpose(1, 2).reshape(rows, length, WIDTH))
        return {head}
'''
SDPA = "y = F.scaled_dot_product_attention(q, k, v, is_causal=True)"
BY_HAND = (
    "weights = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1]); "
    "y = weights.masked_fill(torch.ones(length, length).tril() == 0, -math.inf).softmax(-1) @ v"
)
WINDOWED = (
    "near = torch.ones(length, length).tril().bool() & torch.ones(length, length).triu(-8).bool(); "
    "y = F.scaled_dot_product_attention(q, k, v, attn_mask=near)"
)
TABLE = "nn.Embedding(VOCAB_SIZE, VOCAB_SIZE)"
DEFAULTS = {
    "learning_rate": 0.5,
    "batch": 8,
    "length": 64,
    "width": 32,
    "model": "",
    "build": TABLE,
    "update": SGD,
    "extra": "",
    "finish": "model.eval()",
}


def _context(k: int, activation: str = "x") -> dict[str, object]:
    return {"model": CONTEXT.format(k=k, activation=activation), "build": "Model()"}


def _transformer(**parts: object) -> dict[str, object]:
    usual = {"norm": "LayerNorm", "dropout": 0.0, "tie": "", "attention": SDPA, "head": "self.out(x)"}
    return {"model": TRANSFORMER.format(**{**usual, **parts}), "build": "Model()"}


VARIANTS: dict[str, dict[str, object]] = {
    "table": {},
    "table, higher learning rate": {"learning_rate": 5.0},
    "table, larger batch": {"batch": 64},
    "table, one row": {"batch": 1},
    "table, short rows": {"length": 7},
    "table, long rows": {"length": 500, "batch": 2},
    "table with momentum": {"update": MOMENTUM, "learning_rate": 0.05},
    "table with sign descent": {"update": SIGN, "learning_rate": 0.05},
    "table with RMS scaling": {"update": RMS, "learning_rate": 0.05},
    "table in double precision": {"build": f"{TABLE}.double()"},
    "table in bfloat16": {"build": f"{TABLE}.bfloat16()"},
    "low-rank table": {"build": "nn.Sequential(nn.Embedding(VOCAB_SIZE, WIDTH), nn.Linear(WIDTH, VOCAB_SIZE))"},
    "table that begins at zero": {
        "build": "nn.Embedding(VOCAB_SIZE, VOCAB_SIZE, _weight=torch.zeros(VOCAB_SIZE, VOCAB_SIZE))"
    },
    "two tokens of context": _context(2),
    "eight tokens of context, tanh": _context(8, "x.tanh()"),
    "squared rectifier": _context(3, "x.relu().square()"),
    "GRU": {"model": RECURRENT.format(cell="GRU"), "build": "Model()"},
    "LSTM": {"model": RECURRENT.format(cell="LSTM"), "build": "Model()"},
    "convolutions": {"model": CONVOLUTION.format(dilations=(1, 2)), "build": "Model()"},
    "dilated convolutions": {"model": CONVOLUTION.format(dilations=(1, 4, 16)), "build": "Model()"},
    "attention": _transformer(),
    "attention by hand": _transformer(attention=BY_HAND),
    "attention over a window": _transformer(attention=WINDOWED),
    "attention with RMSNorm": _transformer(norm="RMSNorm"),
    "attention with dropout": _transformer(dropout=0.3),
    "attention, tied embeddings": _transformer(tie="self.out.weight = self.embedding.weight"),
    "attention, capped logits": _transformer(head="15 * torch.tanh(self.out(x) / 15)"),
    "writes a file of its own": {"extra": "tempfile.NamedTemporaryFile().write(str(step).encode())"},
    "talks a lot": {"extra": "print('step', step, 'of a run on', os.cpu_count(), 'cores', 'x' * 2000)"},
    "average of the weights": {"finish": "model.weight.data = torch.stack([model.weight.data] * 2).mean(0)"},
}


def source(name: str) -> str:
    """The whole file of one variant."""
    return FRAME.format(name=name, **{**DEFAULTS, **VARIANTS[name]})
