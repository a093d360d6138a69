"""A small GPT on technical English, trained within the budget that the harness gives.

Everything in this file may change. What must stay: `build_model()`, and `main()` ending with `runtime.save(model)`.
"""

import math

import torch
import torch.nn.functional as F
from prepare import VOCAB_SIZE
from torch import Tensor, nn

from trainer import runtime

# ---------------------------------------------------------------------------------------------------------
# Constants
# ---------------------------------------------------------------------------------------------------------

DEPTH = 3  # transformer blocks
WIDTH = 64  # features of the residual stream
HEADS = 4  # attention heads; divides WIDTH
MLP_RATIO = 4  # hidden features of the MLP, in WIDTHs
SEQ_LEN = 256  # tokens the model looks back over
BATCH_SIZE = 8  # sequences a step
LEARNING_RATE = 3e-3  # of AdamW, at its peak
BETA1 = 0.9  # decay of AdamW's first moment
BETA2 = 0.95  # decay of AdamW's second moment
WEIGHT_DECAY = 0.1  # of matrices
WARMUP_FRACTION = 0.05  # share of the budget in which the learning rate rises
FINAL_LR_FRACTION = 0.1  # learning rate at the end, as a share of the peak
GRAD_CLIP = 1.0  # largest norm of the gradient
DROPOUT = 0.0  # probability
EMBEDDING_STD = 0.02  # of the initial embeddings
ACTIVATION = "gelu"  # of the MLP: gelu, relu2 or silu
TIED_EMBEDDINGS = True  # the output layer is the input embedding

# ---------------------------------------------------------------------------------------------------------
# Act 1: the model
# ---------------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Causal self-attention."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, _ = x.shape
        q, k, v = self.qkv(x).view(rows, length, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=DROPOUT if self.training else 0.0)
        return self.out(y.transpose(1, 2).reshape(rows, length, WIDTH))


class MLP(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(WIDTH, MLP_RATIO * WIDTH, bias=False)
        self.down = nn.Linear(MLP_RATIO * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activation = {"gelu": F.gelu, "relu2": lambda h: F.relu(h).square(), "silu": F.silu}[ACTIVATION]
        return self.down(activation(self.up(x)))


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm, each added to the stream."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(WIDTH), Attention()
        self.norm2, self.mlp = nn.LayerNorm(WIDTH), MLP()
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.mlp(self.norm2(x)))


class GPT(nn.Module):
    """Token ids [rows, length] to logits [rows, length, vocabulary]; longer inputs are read in pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, WIDTH)
        self.position = nn.Embedding(SEQ_LEN, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCAB_SIZE, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
        for block in self.blocks:  # GPT-2: the stream's variance must not grow with depth
            nn.init.normal_(block.attention.out.weight, std=0.02 / math.sqrt(2 * DEPTH))
            nn.init.normal_(block.mlp.down.weight, std=0.02 / math.sqrt(2 * DEPTH))
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        nn.init.normal_(self.position.weight, std=EMBEDDING_STD)
        if TIED_EMBEDDINGS:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1] <= SEQ_LEN:
            return self.read(tokens)
        return torch.cat([self.read(piece) for piece in tokens.split(SEQ_LEN, dim=1)], dim=1)

    def read(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.position.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def build_model() -> nn.Module:
    """The untrained model. The judge calls this too, and then loads the saved weights."""
    return GPT()


# ---------------------------------------------------------------------------------------------------------
# Act 2: the optimiser
# ---------------------------------------------------------------------------------------------------------


class AdamW:
    """Adam with decoupled weight decay (arXiv 1711.05101). torch's own costs seconds of import on first use."""

    def __init__(self, model: nn.Module) -> None:
        self.parameters = list(model.parameters())
        self.first = [torch.zeros_like(p) for p in self.parameters]
        self.second = [torch.zeros_like(p) for p in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        self.steps += 1
        correction1, correction2 = 1 - BETA1**self.steps, 1 - BETA2**self.steps
        for p, first, second in zip(self.parameters, self.first, self.second, strict=True):
            first.lerp_(p.grad, 1 - BETA1)
            second.lerp_(p.grad.square(), 1 - BETA2)
            if p.dim() > 1:
                p.mul_(1 - learning_rate * WEIGHT_DECAY)
            p.addcdiv_(first, (second / correction2).sqrt_().add_(1e-8), value=-learning_rate / correction1)
            p.grad = None


def learning_rate_at(fraction: float) -> float:
    """Linear warm-up, then a cosine down to the final share; `fraction` of the budget is spent."""
    if fraction < WARMUP_FRACTION:
        return LEARNING_RATE * max(fraction / WARMUP_FRACTION, 0.01)
    progress = (fraction - WARMUP_FRACTION) / (1 - WARMUP_FRACTION)
    share = FINAL_LR_FRACTION + (1 - FINAL_LR_FRACTION) * 0.5 * (1 + math.cos(math.pi * progress))
    return LEARNING_RATE * share


# ---------------------------------------------------------------------------------------------------------
# Act 3: the training
# ---------------------------------------------------------------------------------------------------------


def random_batch(tokens: Tensor) -> Tensor:
    """Random windows of the training text, [BATCH_SIZE, SEQ_LEN + 1]."""
    starts = torch.randint(len(tokens) - SEQ_LEN, (BATCH_SIZE,))
    return tokens[starts[:, None] + torch.arange(SEQ_LEN + 1)].long()


def main() -> None:
    """Train until the budget is spent, then save."""
    model = build_model().train()
    optimizer = AdamW(model)
    tokens = runtime.ready()  # the budget's clock starts here
    step = 0
    while (fraction := runtime.fraction()) < 1:
        batch = random_batch(tokens)
        logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step(learning_rate_at(fraction))
        step += 1
        runtime.report(step, loss.item())
    runtime.save(model)


if __name__ == "__main__":
    main()
