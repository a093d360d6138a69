"""Owns the ruler: bits per byte of a trained model on text that its code has never been able to read.

One process per trial. It imports torch once, forks the process that trains (before it has read any of the held-out
text), and then the two that serve the trained model: hostile code never runs in here, and no child sees
what this process reads after the fork.

The model is a function from token ids to logits, nothing more. Windows are fixed by the data, not by the candidate;
log-softmax, targets and bytes are ours. Among the real requests, in random order, go probes that look just like
them: a real window whose end is another window's end, and a real window among other neighbours. Where the shared
prefix gets other logits, the model looked ahead or at its neighbours, and is rejected. Two processes serve the model,
each out of the other's sight, and a probe never goes where its original goes: remembering answers does not help.

    python -m trainer.judge OPEN_FILE       speaks JSON lines with the harness over OPEN_FILE
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
from array import array
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import worker
from trainer.sandbox import Layout
from trainer.source import overweight, quotes
from trainer.wire import Wire

if TYPE_CHECKING:
    from torch import Tensor

SERVERS = 2  # processes that serve the model
ROWS = 16  # most windows in one request
LOGITS = 1 << 25  # most logits in one answer (128 MiB), where that leaves two rows
LOOK_AHEAD_PROBES = 8  # windows whose end is replaced
QUICK_WINDOWS = 16  # windows of a shard that are scored where only the probes matter
NEIGHBOUR_PROBES = 4  # windows asked twice, among other neighbours
TOLERANCE = 1e-3  # relative difference that float arithmetic in another order may cause
MODEL_SECONDS = 120.0  # most wall seconds the model may take for one answer


class Rejected(Exception):
    """The model is not an honest next-token model; the message says why."""


class ModelFailed(Exception):
    """The candidate's own code failed while it served; the message is its error."""


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A held-out text, cut into windows."""

    inputs: Tensor  # int64 [windows, window]
    targets: Tensor  # int64 [windows, window]: each input's next token


@dataclass(frozen=True, kw_only=True)
class Request:
    """One window to ask for, and what to do with the answer."""

    tokens: Tensor  # int64 [window]
    shard: int  # which shard it belongs to; -1: a probe, or padding, not scored
    window: int  # its place in that shard
    pair: int = -1  # requests with the same number must agree ...
    prefix: int = 0  # ... on this many first positions
    server: int = 0  # which of the SERVERS is asked


def read_uint16(path: Path) -> Tensor:
    """A file of little-endian uint16 as int64, 1-d."""
    import torch

    data = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint16)
    return data.to(torch.int64)


def read_shard(path: Path, window: int, most: int | None = None) -> Shard:
    """Cut a token file into whole windows, `most` at most; each token but the first is a target once."""
    tokens = read_uint16(path)
    count = (len(tokens) - 1) // window
    count = count if most is None else min(count, most)
    return Shard(
        inputs=tokens[: count * window].view(count, window),
        targets=tokens[1 : count * window + 1].view(count, window),
    )


def rows_of(window: int, vocabulary: int) -> int:
    """How many windows a request has: fixed by the data, never by the candidate."""
    return max(2, min(ROWS, LOGITS // (window * vocabulary)))


def plan(shards: list[Shard], chance: random.Random, rows: int) -> list[list[Request]]:
    """Every window once, the probes among them, per server in random order, padded to whole requests of `rows`."""
    real = [
        Request(tokens=row, shard=s, window=w, server=chance.randrange(SERVERS))
        for s, shard in enumerate(shards)
        for w, row in enumerate(shard.inputs)
    ]
    window = len(real[0].tokens)
    requests = list(real)
    chosen = chance.sample(range(len(real)), min(LOOK_AHEAD_PROBES + NEIGHBOUR_PROBES, len(real)))
    for pair, place in enumerate(chosen):
        original = real[place]
        prefix, tokens = window, original.tokens
        if pair < LOOK_AHEAD_PROBES:
            prefix = chance.randrange(1, window)
            tokens = original.tokens.clone()
            tokens[prefix:] = chance.choice(real).tokens[prefix:]
        requests[place] = replace(original, pair=pair, prefix=prefix)
        elsewhere = (original.server + 1) % SERVERS
        requests.append(Request(tokens=tokens, shard=-1, window=-1, pair=pair, prefix=prefix, server=elsewhere))
    queues = [[r for r in requests if r.server == server] for server in range(SERVERS)]
    for queue in queues:
        padding = -len(queue) % rows
        queue += [Request(tokens=chance.choice(real).tokens, shard=-1, window=-1) for _ in range(padding)]
        chance.shuffle(queue)
    return queues


class Model:
    """The serving process, seen from the judge."""

    def __init__(self, wire: Wire, exchange: int, shape: tuple[int, int, int]) -> None:
        self.wire = wire
        self.shape = shape
        self.tokens, self.logits = worker.views(exchange, shape)
        wire.sock.settimeout(MODEL_SECONDS)
        self._expect("serving")

    def ask(self, tokens: Tensor) -> None:
        """Have the model begin to answer token ids [rows, window]; `wait` for it."""
        self.tokens.copy_(tokens)
        self.wire.send({"ask": True})

    def wait(self) -> None:
        """Return once the model has answered; `row` then gives what it said."""
        self._expect("done")

    def row(self, number: int) -> Tensor:
        """Our own copy of one row's logits [window, vocab], so that the model cannot change them any more."""
        answer = self.logits[number].clone()
        if not answer.sum().isfinite():  # any NaN or infinity shows in the sum
            raise Rejected("the model's logits are not all finite")
        return answer

    def _expect(self, word: str) -> None:
        try:
            message = self.wire.receive()
        except ValueError:
            raise ModelFailed("it broke the protocol with the judge") from None
        if message is None:
            raise ModelFailed("the process that serves the model ended; its log has the reason")
        if "rejected" in message:
            raise Rejected(str(message["rejected"])[:300])
        if word not in message:
            raise ModelFailed(str(message.get("error", message))[:300])


def score(models: list[Model], shards: list[Shard], token_bytes: Tensor, chance: random.Random) -> list[float]:
    """Bits per byte on each shard. Raises Rejected where a probe finds the model out."""
    import torch

    nats = [0.0 for _ in shards]
    kept: dict[int, Tensor] = {}
    rows = models[0].shape[0]
    queues = plan(shards, chance, rows)
    left = [[queue[start : start + rows] for start in range(0, len(queue), rows)] for queue in queues]
    asked: deque[tuple[Model, list[list[Request]], list[Request]]] = deque()

    def ask(model: Model, batches: list[list[Request]]) -> None:
        if batches:
            batch = batches.pop()
            model.ask(torch.stack([r.tokens for r in batch]))
            asked.append((model, batches, batch))

    for model, batches in zip(models, left, strict=True):
        ask(model, batches)
    while asked:  # one server thinks while the other's answer is scored
        model, batches, batch = asked.popleft()
        model.wait()
        for number, request in enumerate(batch):
            if request.shard < 0 and request.pair < 0:
                continue
            answer = model.row(number)
            if request.shard >= 0:
                targets = shards[request.shard].targets[request.window]
                chosen = answer.gather(-1, targets[:, None]).squeeze(-1)
                nats[request.shard] += (answer.logsumexp(-1) - chosen).double().sum().item()
            if request.pair >= 0:
                mine = answer[: request.prefix]
                compare(kept.setdefault(request.pair, mine), mine)
        ask(model, batches)
    lengths = [token_bytes[shard.targets].sum().item() for shard in shards]
    return [total / math.log(2) / length for total, length in zip(nats, lengths, strict=True)]


def compare(first: Tensor, second: Tensor) -> None:
    """Raise Rejected where two answers to the same tokens differ by more than arithmetic explains."""
    difference = (first - second).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, first.abs().max().item()):
        raise Rejected(
            f"logits change (by up to {difference:.3g}) with later tokens or with other rows of a request; "
            "predict each token from those before it in its row"
        )


def check_source(message: dict[str, Any], folder: Path) -> None:
    """Raise Rejected where the candidate's file has the answers in it. Its code is read, not run."""
    candidate = Path(message["candidate"]).read_text(encoding="utf-8", errors="replace")
    if reason := overweight(candidate, Path(message["own"]).read_text(encoding="utf-8")):
        raise Rejected(reason)
    for name in ("val", "holdout"):
        text = folder / f"{name}.txt"
        tokens = array("H", (folder / f"{name}.bin").read_bytes())
        if quotes(candidate, text.read_bytes() if text.exists() else b"", tokens):
            raise Rejected("its source quotes held-out text")


# ---------------------------------------------------------------------------------------------------------
# The process
# ---------------------------------------------------------------------------------------------------------


def job_from(message: dict[str, Any], role: str, layout: str, **more: Any) -> worker.Job:
    """A worker's job from the harness's message."""
    names = ("method", "file", "environment", "seed", "threads", "cpu_seconds", "log")
    values = {name: message[name] for name in names}
    return worker.Job(role=role, layout=Layout.from_json(layout), **values, **more)


def train(message: dict[str, Any], harness: Wire) -> None:
    """Start the training process, say that it runs, wait, say how it ended."""
    pid = worker.start(job_from(message, "train", message["layouts"][0], wire=message["wire"]))
    os.close(message["wire"])
    harness.send({"started": 1})
    _, status = os.waitpid(pid, 0)
    harness.send({"status": os.waitstatus_to_exitcode(status)})


def serve(message: dict[str, Any], layout: str, shape: tuple[int, int, int], open_here: ExitStack) -> tuple[Wire, int]:
    """Start one serving process; returns our end of the wire to it, and the shared memory's open file."""
    ours, theirs = Wire.pair()
    open_here.callback(ours.close)
    exchange = open_here.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    exchange.truncate(worker.exchange_bytes(shape))
    worker.start(job_from(message, "serve", layout, wire=theirs.fileno(), exchange=exchange.fileno(), shape=shape))
    theirs.close()
    return ours, exchange.fileno()


def judge(message: dict[str, Any], harness: Wire) -> dict[str, Any]:
    """Serve the model, score it, and give the verdict as a message."""
    folder = Path(message["data"])
    window, vocabulary = int(message["window"]), int(message["vocab_size"])
    shape = (rows_of(window, vocabulary), window, vocabulary)
    with ExitStack() as open_here:
        served = [serve(message, layout, shape, open_here) for layout in message["layouts"]]
        harness.send({"started": len(served)})
        names = ["val", "holdout"] if message["holdout"] else ["val"]
        most = QUICK_WINDOWS if message["quick"] else None
        shards = [read_shard(folder / f"{name}.bin", shape[1], most) for name in names]
        try:
            check_source(message, folder)
            models = [Model(wire, exchange, shape) for wire, exchange in served]
            scores = score(models, shards, read_uint16(folder / "token_bytes.bin"), random.SystemRandom())
        except Rejected as reason:
            return {"verdict": "rejected", "message": str(reason)}
        except TimeoutError:
            return {"verdict": "slow", "message": f"the model took over {MODEL_SECONDS:.0f} s for one request"}
        except (ModelFailed, ConnectionError) as reason:
            return {"verdict": "failed", "message": str(reason)}
    return {"verdict": "scored", "scores": dict(zip(names, scores, strict=True))}


def main(argv: list[str]) -> None:
    """Do what the harness asks, in order, until it hangs up."""
    harness = Wire.inherited(int(argv[0]))
    import torch

    harness.send({"torch": torch.__version__})
    while (message := harness.receive()) is not None:
        if message["do"] == "train":
            train(message, harness)
        else:
            torch.set_num_threads(message["threads"])
            harness.send(judge(message, harness))


if __name__ == "__main__":
    main(sys.argv[1:])
