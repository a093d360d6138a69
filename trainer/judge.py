"""Owns the ruler: bits per byte of a trained model on text that its code has never been able to read.

One process per trial. It imports torch once, forks the process that trains (before it has read any of the held-out
text), and then the process that serves the trained model: hostile code never runs in here, and neither child sees
what this process reads after the fork.

The model is a function from token ids to logits, nothing more. Windows are fixed by the data, not by the candidate;
log-softmax, targets and bytes are ours. Among the real requests, in random order, go probes that look just like
them: a real window whose end is another window's end, and a real window among other neighbours. Where the shared
prefix gets other logits, the model looked ahead or at its neighbours, and is rejected.

    python -m trainer.judge OPEN_FILE       speaks JSON lines with the harness over OPEN_FILE
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer import worker
from trainer.sandbox import Layout
from trainer.wire import Wire

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 16  # windows in one request, fixed
LOOK_AHEAD_PROBES = 8  # windows whose end is replaced
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


def read_uint16(path: Path) -> Tensor:
    """A file of little-endian uint16 as int64, 1-d."""
    import torch

    data = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint16)
    return data.to(torch.int64)


def read_shard(path: Path, window: int) -> Shard:
    """Cut a token file into as many whole windows as it has; each token but the first is a target once."""
    tokens = read_uint16(path)
    count = (len(tokens) - 1) // window
    return Shard(
        inputs=tokens[: count * window].view(count, window),
        targets=tokens[1 : count * window + 1].view(count, window),
    )


def plan(shards: list[Shard], chance: random.Random) -> list[Request]:
    """Every window once, the probes among them, in random order, padded to whole requests of ROWS."""
    real = [
        Request(tokens=row, shard=s, window=w) for s, shard in enumerate(shards) for w, row in enumerate(shard.inputs)
    ]
    window = len(real[0].tokens)
    requests = list(real)
    chosen = chance.sample(range(len(real)), min(LOOK_AHEAD_PROBES + NEIGHBOUR_PROBES, len(real)))
    for pair, place in enumerate(chosen):
        original = real[place]
        prefix, tokens = window, original.tokens
        if pair < LOOK_AHEAD_PROBES:
            prefix = chance.randrange(1, window)
            other = chance.choice(real).tokens
            tokens = original.tokens.clone()
            tokens[prefix:] = other[prefix:]
        requests[place] = Request(
            tokens=original.tokens, shard=original.shard, window=original.window, pair=pair, prefix=prefix
        )
        requests.append(Request(tokens=tokens, shard=-1, window=-1, pair=pair, prefix=prefix))
    while len(requests) % ROWS:
        requests.append(Request(tokens=chance.choice(real).tokens, shard=-1, window=-1))
    chance.shuffle(requests)
    return requests


class Model:
    """The serving process, seen from the judge."""

    def __init__(self, wire: Wire, exchange: int, shape: tuple[int, int, int]) -> None:
        self.wire = wire
        self.shape = shape
        self.tokens, self.logits = worker.views(exchange, shape)
        wire.sock.settimeout(MODEL_SECONDS)
        self._expect("serving")

    def ask(self, tokens: Tensor) -> None:
        """Have the model answer token ids [rows, window]; `row` then gives what it said."""
        self.tokens.copy_(tokens)
        self.wire.send({"ask": True})
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


def score(model: Model, shards: list[Shard], token_bytes: Tensor, chance: random.Random) -> list[float]:
    """Bits per byte on each shard. Raises Rejected where a probe finds the model out."""
    import torch

    nats = [0.0 for _ in shards]
    kept: dict[int, Tensor] = {}
    requests = plan(shards, chance)
    for start in range(0, len(requests), ROWS):
        batch = requests[start : start + ROWS]
        model.ask(torch.stack([r.tokens for r in batch]))
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
                compare(kept.setdefault(request.pair, mine), mine, neighbours=request.prefix == model.shape[1])
    lengths = [token_bytes[shard.targets].sum().item() for shard in shards]
    return [total / math.log(2) / length for total, length in zip(nats, lengths, strict=True)]


def compare(first: Tensor, second: Tensor, *, neighbours: bool) -> None:
    """Raise Rejected where two answers to the same tokens differ by more than arithmetic explains."""
    difference = (first - second).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, first.abs().max().item()):
        why = "change with the other rows of a request" if neighbours else "change with tokens that come later"
        raise Rejected(f"logits {why} (by up to {difference:.3g}); predict each token from those before it alone")


# ---------------------------------------------------------------------------------------------------------
# The process
# ---------------------------------------------------------------------------------------------------------


def job_from(message: dict[str, Any], role: str, **more: Any) -> worker.Job:
    """A worker's job from the harness's message."""
    layout = Layout.from_json(message["layout"])
    names = ("method", "file", "environment", "seed", "threads", "cpu_seconds", "log")
    return worker.Job(role=role, layout=layout, **{name: message[name] for name in names}, **more)


def train(message: dict[str, Any], harness: Wire) -> None:
    """Start the training process, say its pid, wait, say how it ended."""
    pid = worker.start(job_from(message, "train", wire=message["wire"]))
    os.close(message["wire"])
    harness.send({"pid": pid})
    _, status = os.waitpid(pid, 0)
    harness.send({"status": os.waitstatus_to_exitcode(status)})


def judge(message: dict[str, Any], harness: Wire) -> dict[str, Any]:
    """Serve the model, score it, and give the verdict as a message."""
    folder = Path(message["data"])
    shape = (ROWS, int(message["window"]), int(message["vocab_size"]))
    ours, theirs = Wire.pair()
    with tempfile.TemporaryFile() as exchange:
        exchange.truncate(worker.exchange_bytes(shape))
        pid = worker.start(job_from(message, "serve", wire=theirs.fileno(), exchange=exchange.fileno(), shape=shape))
        theirs.close()
        harness.send({"pid": pid})
        names = ["val", "holdout"] if message["holdout"] else ["val"]
        shards = [read_shard(folder / f"{name}.bin", shape[1]) for name in names]
        try:
            model = Model(ours, exchange.fileno(), shape)
            scores = score(model, shards, read_uint16(folder / "token_bytes.bin"), random.SystemRandom())
        except Rejected as reason:
            return {"verdict": "rejected", "message": str(reason)}
        except TimeoutError:
            return {"verdict": "slow", "message": f"the model took over {MODEL_SECONDS:.0f} s for one request"}
        except (ModelFailed, OSError) as reason:
            return {"verdict": "failed", "message": str(reason)}
        finally:
            ours.close()
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
