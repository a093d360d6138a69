"""A GPT on web text for one H100 or H200, trained within the budget that the harness gives.

Everything in this file may change. What must stay: `build_model()`, and `main()` ending with `runtime.save(model)`.
It runs on CPU too, slowly, without compiling: for a first step and for tests.
"""

import gc
import math
import os
import time

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # read when the first CUDA memory is asked for

import torch
import torch.nn.functional as F
from prepare import VOCAB_SIZE, WINDOW
from torch import Tensor, nn

from trainer import runtime

# ---------------------------------------------------------------------------------------------------------
# Constants
# ---------------------------------------------------------------------------------------------------------

DEPTH = 8  # transformer blocks
ASPECT_RATIO = 64  # features of the residual stream for each block, rounded up to whole heads
HEAD_DIM = 128  # features of an attention head
WINDOW_PATTERN = "SSSL"  # attention of the blocks in turn: L all of the context, S half; the last block is always L
TOTAL_BATCH_SIZE = 524288  # tokens an optimiser step
DEVICE_BATCH_SIZE = 128  # most rows of WINDOW tokens in one forward pass; less uses less memory
EMBEDDING_LR = 0.6  # of AdamW on token and value embeddings, at a width of 768
HEAD_LR = 0.004  # of AdamW on the output layer, at a width of 768
MATRIX_LR = 0.04  # of Muon on the matrices of the blocks
SCALAR_LR = 0.5  # of AdamW on the weights of the embedding in the residual stream
WEIGHT_DECAY = 0.2  # of the matrices, where it does not work against the step; fades to 0
BETA1 = 0.8  # decay of AdamW's first moment
BETA2 = 0.95  # decay of AdamW's second moment
MUON_MOMENTUM = 0.95  # decay of Muon's momentum, after a rise from 0.85 over 300 steps
MUON_BETA2 = 0.95  # decay of Muon's second moment of each row
WARMUP_FRACTION = 0.0  # share of the budget in which learning rates rise
COOLDOWN_FRACTION = 0.5  # share of the budget in which they fall again
FINAL_LR_FRACTION = 0.0  # learning rates at the end, as a share of the peak
LOGIT_CAP = 15.0  # logits are squeezed smoothly into this range on both sides
COMPILE = True  # on CUDA

WIDTH = math.ceil(DEPTH * ASPECT_RATIO / HEAD_DIM) * HEAD_DIM
HEADS = WIDTH // HEAD_DIM
ROWS = max(1, min(DEVICE_BATCH_SIZE, TOTAL_BATCH_SIZE // WINDOW))  # in one forward pass
PASSES = max(1, TOTAL_BATCH_SIZE // (ROWS * WINDOW))  # an optimiser step
GATE_DIM = 32  # features of the stream that decide how much of a value embedding each head takes
CUDA = torch.cuda.is_available()
PEAK_FLOPS = {"H100": 989.5e12, "H200": 989.5e12}  # dense bf16 of the SXM boards, NVIDIA's data sheets

try:  # FlashAttention 3, where it is installed
    from flash_attn_interface import flash_attn_func as flash_attention_3
except ImportError:
    flash_attention_3 = None
if CUDA and torch.cuda.get_device_capability() != (9, 0):
    flash_attention_3 = None  # made for Hopper alone

# ---------------------------------------------------------------------------------------------------------
# Act 1: the model
# ---------------------------------------------------------------------------------------------------------


def norm(x: Tensor) -> Tensor:
    """RMS norm without weights (arXiv 1910.07467)."""
    return F.rms_norm(x, (x.shape[-1],))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864) on [rows, length, heads, HEAD_DIM]."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos + right * sin, right * cos - left * sin), dim=-1)


def has_value_embedding(block: int) -> bool:
    """Every other block has one, the last among them."""
    return (DEPTH - 1 - block) % 2 == 0


def look_back(block: int) -> int:
    """How many earlier tokens a block sees."""
    short = WINDOW_PATTERN[block % len(WINDOW_PATTERN)] == "S" and block != DEPTH - 1
    return WINDOW // 2 if short else WINDOW


def attend(q: Tensor, k: Tensor, v: Tensor, back: int, flex_mask) -> Tensor:
    """Causal attention over at most `back` earlier tokens; all are [rows, length, heads, HEAD_DIM]."""
    if flash_attention_3 is not None and q.is_cuda:
        y = flash_attention_3(q, k, v, causal=True, window_size=(back, 0))
        return y[0] if isinstance(y, tuple) else y  # some releases give the normaliser too
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    length = q.shape[2]
    if back >= length:
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    elif flex_mask is not None:
        from torch.nn.attention.flex_attention import flex_attention

        y = flex_attention(q, k, v, block_mask=flex_mask)
    else:
        place = torch.arange(length, device=q.device)
        apart = place[:, None] - place[None, :]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=(apart >= 0) & (apart <= back))
    return y.transpose(1, 2)


class Attention(nn.Module):
    """Causal self-attention with normed queries and keys, and a gated value embedding in some blocks."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.back = look_back(block)
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.gate = nn.Linear(GATE_DIM, HEADS, bias=False) if has_value_embedding(block) else None
        self.flex_mask = None  # of the compiled training on CUDA

    def forward(self, x: Tensor, embedded: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        rows, length, _ = x.shape
        shape = (rows, length, HEADS, HEAD_DIM)
        q, k, v = self.query(x).view(shape), self.key(x).view(shape), self.value(x).view(shape)
        if embedded is not None:
            v = v + 2 * torch.sigmoid(self.gate(x[..., :GATE_DIM]))[..., None] * embedded.view(shape)
        q, k = (norm(rotate(x, cos, sin)).to(v.dtype) for x in (q, k))
        y = attend(q, k, v, self.back, self.flex_mask)
        return self.out(y.reshape(rows, length, WIDTH))


class Block(nn.Module):
    """Attention and a squared-ReLU MLP (arXiv 2109.08668), each behind a norm, each added to the stream."""

    def __init__(self, block: int) -> None:
        super().__init__()
        self.attention = Attention(block)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, embedded: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(norm(x), embedded, cos, sin)
        return x + self.down(F.relu(self.up(norm(x))).square())


class GPT(nn.Module):
    """Token ids [rows, length] to logits [rows, length, vocabulary], or with targets to the mean loss."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, WIDTH)
        self.values = nn.ModuleDict(
            {str(i): nn.Embedding(VOCAB_SIZE, WIDTH) for i in range(DEPTH) if has_value_embedding(i)}
        )
        self.blocks = nn.ModuleList(Block(i) for i in range(DEPTH))
        self.head = nn.Linear(WIDTH, VOCAB_SIZE, bias=False)
        self.keep = nn.Parameter(torch.ones(DEPTH))  # of the stream, before each block
        self.recall = nn.Parameter(torch.full((DEPTH,), 0.1))  # of the first embedding, added there
        angles = torch.outer(torch.arange(WINDOW), 10_000.0 ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM))
        self.register_buffer("cos", angles.cos()[None, :, None, :], persistent=False)
        self.register_buffer("sin", angles.sin()[None, :, None, :], persistent=False)
        self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Begin anew: outputs of the blocks at zero, the head close to it, everything else at unit gain."""
        bound = math.sqrt(3 / WIDTH)
        nn.init.normal_(self.embedding.weight, std=1.0)
        nn.init.normal_(self.head.weight, std=0.001)
        for table in self.values.values():
            nn.init.uniform_(table.weight, -bound, bound)
        for block in self.blocks:
            attention = block.attention
            for layer in (attention.query, attention.key, attention.value, block.up):
                nn.init.uniform_(layer.weight, -bound, bound)
            for layer in (attention.out, block.down, *([attention.gate] if attention.gate else [])):
                nn.init.zeros_(layer.weight)
        self.keep.fill_(1.0)
        self.recall.fill_(0.1)

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> Tensor:
        with torch.autocast(tokens.device.type, torch.bfloat16):
            logits = self.read(tokens)
        logits = LOGIT_CAP * torch.tanh(logits.float() / LOGIT_CAP)
        return logits if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def read(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        x = first = norm(self.embedding(tokens).bfloat16())
        cos, sin = self.cos[:, :length].bfloat16(), self.sin[:, :length].bfloat16()
        for i, block in enumerate(self.blocks):
            x = self.keep[i].bfloat16() * x + self.recall[i].bfloat16() * first
            embedded = self.values[str(i)](tokens).bfloat16() if has_value_embedding(i) else None
            x = block(x, embedded, cos, sin)
        return self.head(norm(x))


def build_model() -> nn.Module:
    """The untrained model. The judge calls this too, and then loads the saved weights."""
    return GPT()


def flops_per_token() -> float:
    """Floating-point operations of one token's forward and backward pass; a multiply-add counts as two."""
    matrices = DEPTH * 12 * WIDTH**2 + VOCAB_SIZE * WIDTH
    attention = sum(12 * WIDTH * min(look_back(i), WINDOW) for i in range(DEPTH))
    return 6 * matrices + attention


# ---------------------------------------------------------------------------------------------------------
# Act 2: the optimisers
# ---------------------------------------------------------------------------------------------------------


def orthogonal(x: Tensor) -> Tensor:
    """Close to the nearest semi-orthogonal matrices to [n, rows, columns], by Newton-Schulz steps in bf16.

    Muon's quintic (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/).
    """
    tall = x.shape[-2] > x.shape[-1]
    x = x.bfloat16()
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


def muon_update(p: Tensor, grad: Tensor, momentum: Tensor, second: Tensor, knobs: Tensor) -> Tensor:
    """Matrices of one shape, [n, rows, columns], after one step; momentum and second moment change in place."""
    learning_rate, decay, beta1 = knobs.unbind()
    momentum.lerp_(grad, 1 - beta1)
    step = orthogonal(torch.lerp(grad, momentum, beta1)).float()
    power = step.square().mean(dim=-1, keepdim=True)  # NorMuon (arXiv 2510.05491): rows of even size
    second.lerp_(power, 1 - MUON_BETA2)
    even = step * second.clamp_min(1e-10).rsqrt()
    even = even * (step.norm(dim=(-2, -1), keepdim=True) / even.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-10))
    rate = learning_rate * math.sqrt(max(1.0, p.shape[-2] / p.shape[-1]))
    return p - rate * even - rate * decay * p * (even * p > 0)  # cautious decay (arXiv 2411.16085)


class Optimizer:
    """Muon for the matrices of the blocks, AdamW for everything else."""

    def __init__(self, model: GPT) -> None:
        scale = (WIDTH / 768) ** -0.5
        embeddings = [model.embedding.weight, *(table.weight for table in model.values.values())]
        groups = [
            {"params": embeddings, "peak": EMBEDDING_LR * scale},
            {"params": [model.head.weight], "peak": HEAD_LR * scale},
            {"params": [model.keep], "peak": SCALAR_LR * 0.01},
            {"params": [model.recall], "peak": SCALAR_LR, "betas": (0.96, 0.95)},
        ]
        self.adam = torch.optim.AdamW(groups, betas=(BETA1, BETA2), eps=1e-10, weight_decay=0.0, fused=CUDA)
        self.update = torch.compile(muon_update, dynamic=False) if CUDA and COMPILE else muon_update
        shapes: dict[torch.Size, list[nn.Parameter]] = {}
        for p in model.blocks.parameters():
            shapes.setdefault(p.shape, []).append(p)
        self.stacks = list(shapes.values())
        self.momentum = [torch.zeros(len(s), *s[0].shape, device=s[0].device) for s in self.stacks]
        self.second = [torch.zeros(len(s), s[0].shape[0], 1, device=s[0].device) for s in self.stacks]

    @torch.no_grad()
    def step(self, scale: float, fraction: float, step: int) -> None:
        """One step at `scale` times the peak learning rates; `fraction` of the budget is spent."""
        for group in self.adam.param_groups:
            group["lr"] = group["peak"] * scale
        self.adam.step()
        beta1 = MUON_MOMENTUM + (0.85 - MUON_MOMENTUM) * max(0.0, 1 - step / 300)
        knobs = torch.tensor([MATRIX_LR * scale, WEIGHT_DECAY * (1 - fraction), beta1], device=self.momentum[0].device)
        for stack, momentum, second in zip(self.stacks, self.momentum, self.second, strict=True):
            grads = torch.stack([p.grad for p in stack])
            after = self.update(torch.stack(list(stack)), grads, momentum, second, knobs)
            torch._foreach_copy_(stack, list(after.unbind(0)))

    def reset(self) -> None:
        """Forget every step taken."""
        for kept in (*self.momentum, *self.second):
            kept.zero_()
        for state in self.adam.state.values():
            for kept in state.values():
                kept.zero_()


def rate_at(fraction: float) -> float:
    """Learning rates as a share of their peak: up, flat, and down; `fraction` of the budget is spent."""
    if fraction < WARMUP_FRACTION:
        return max(fraction / WARMUP_FRACTION, 0.01)
    down = max(0.0, (fraction - (1 - COOLDOWN_FRACTION)) / COOLDOWN_FRACTION)
    return 1 - down * (1 - FINAL_LR_FRACTION)


# ---------------------------------------------------------------------------------------------------------
# Act 3: the training
# ---------------------------------------------------------------------------------------------------------


class Loader:
    """Rows of WINDOW + 1 tokens in random order, each once an epoch; copies run while the GPU computes."""

    def __init__(self, tokens: Tensor, device: torch.device) -> None:
        self.tokens = tokens.view(torch.int16)
        self.device = device
        self.windows = (len(tokens) - 1) // WINDOW
        self.order: list[int] = []
        self.buffers = [torch.empty(ROWS, WINDOW + 1, dtype=torch.int16) for _ in range(2)]
        self.copied = [torch.cuda.Event() for _ in range(2)] if CUDA else []
        if CUDA:
            self.buffers = [buffer.pin_memory() for buffer in self.buffers]
        self.turn = 0  # which buffer is filled next

    def next(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets, [ROWS, WINDOW] each."""
        buffer = self.buffers[self.turn]
        if CUDA:
            self.copied[self.turn].synchronize()  # its last copy to the GPU is over
        for row in range(ROWS):
            if not self.order:
                self.order = torch.randperm(self.windows).tolist()
            start = self.order.pop() * WINDOW
            buffer[row] = self.tokens[start : start + WINDOW + 1]
        rows = buffer.to(self.device, non_blocking=True)
        if CUDA:
            self.copied[self.turn].record()
        self.turn = 1 - self.turn
        rows = rows.long() & 0xFFFF
        return rows[:, :-1], rows[:, 1:]


def flex_masks(model: GPT) -> None:
    """Give blocks with a short window their mask, where FlexAttention will be compiled into the model."""
    from torch.nn.attention.flex_attention import create_block_mask

    for block in model.blocks:
        back = block.attention.back
        if back < WINDOW:

            def near(_row, _head, q, k, back=back):
                return (q >= k) & (q - k <= back)

            block.attention.flex_mask = create_block_mask(near, None, None, WINDOW, WINDOW)


def train_step(model, optimizer: Optimizer, loader: Loader, fraction: float, step: int) -> float:
    """One optimiser step over TOTAL_BATCH_SIZE tokens; returns its mean loss."""
    total = torch.zeros((), device=loader.device)
    for _ in range(PASSES):
        inputs, targets = loader.next()
        loss = model(inputs, targets) / PASSES
        loss.backward()
        total += loss.detach()
    optimizer.step(rate_at(fraction), fraction, step)
    optimizer.adam.zero_grad(set_to_none=True)
    for stack in optimizer.stacks:
        for p in stack:
            p.grad = None
    return total.item()


def main() -> None:
    """Compile on random tokens, train until the budget is spent, then save."""
    torch.set_float32_matmul_precision("high")
    device = torch.device("cuda" if CUDA else "cpu")
    torch.manual_seed(int(os.environ["NIGHTSWARM_SEED"]))
    model = build_model().to(device)
    optimizer = Optimizer(model)
    compiled = model
    if CUDA and COMPILE:
        if flash_attention_3 is None:
            flex_masks(model)
        compiled = torch.compile(model, dynamic=False)
        nothing = torch.randint(VOCAB_SIZE, (ROWS * WINDOW + 1,)).to(torch.uint16)
        for step in range(3):
            train_step(compiled, optimizer, Loader(nothing, device), 0.0, step)
        model.reset()
        optimizer.reset()
        torch.cuda.reset_peak_memory_stats()
    gc.collect()
    gc.freeze()  # a collection in the middle of the training costs half a second
    gc.disable()
    loader = Loader(runtime.ready(), device)  # the budget's clock starts here
    step, started = 0, time.monotonic()
    while (fraction := runtime.fraction()) < 1:
        loss = train_step(compiled, optimizer, loader, fraction, step)
        step += 1
        runtime.report(step, loss)
    seconds = time.monotonic() - started
    rate = step * PASSES * ROWS * WINDOW / seconds
    print(f"\nnum_steps: {step}")
    print(f"tokens_per_second: {rate:.0f}")
    if CUDA:
        name = torch.cuda.get_device_name()
        peak = next((flops for board, flops in PEAK_FLOPS.items() if board in name), None)
        if peak is not None:
            print(f"mfu_percent: {100 * rate * flops_per_token() / peak:.2f}")
        print(f"peak_memory_mb: {torch.cuda.max_memory_allocated() / 2**20:.0f}")
    runtime.save(model)


if __name__ == "__main__":
    main()
