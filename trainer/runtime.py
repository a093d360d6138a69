"""What a judged candidate may ask of the harness: data, the budget, and a place to leave its weights.

    tokens = runtime.ready()              # the model is built: the clock starts now
    while runtime.fraction() < 1:         # of the budget spent, 0 to 1
        ...
        runtime.report(step, loss)
    runtime.save(model)                   # ends the training

The harness keeps its own clock and does not believe this one; lying here only gets a trial killed.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.wire import Wire

WEIGHTS = "weights.safetensors"  # in the scratch folder, and in the trial's where they are kept

if TYPE_CHECKING:
    from torch import Tensor, nn


class _Run:
    """The state of this process's one training run."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        if "NIGHTSWARM_FD" not in environment:
            raise SystemExit("this file trains under the harness: python -m trainer.harness run TRIAL_FOLDER")
        self.wire = Wire.inherited(int(environment["NIGHTSWARM_FD"]))
        self.kind = environment["NIGHTSWARM_BUDGET_KIND"]
        self.amount = float(environment["NIGHTSWARM_BUDGET"])
        self.started = 0.0  # on the budget's clock
        self.asked = 0.0  # when fraction() was last called, same clock
        self.steps = 0

    def clock(self) -> float:
        """Steps, CPU-seconds or wall seconds since some moment."""
        if self.kind == "steps":
            return float(self.steps)
        return time.process_time() if self.kind == "cpu" else time.monotonic()


@cache
def _current() -> _Run:
    return _Run(os.environ)


def ready() -> Tensor:
    """Say that imports and model building are over; returns the training tokens, 1-d uint16, memory-mapped."""
    import torch

    run = _current()
    run.wire.send({"ready": True})
    if run.wire.receive() is None:
        raise SystemExit("the harness is gone")
    file = run.wire.take_file()
    tokens = torch.frombuffer(mmap.mmap(file, 0, access=mmap.ACCESS_COPY), dtype=torch.uint16)
    os.close(file)
    run.started = run.asked = run.clock()
    return tokens


def fraction() -> float:
    """Share of the budget spent, from 0 to 1. It is 1 as soon as another step as long as the last would not fit."""
    run = _current()
    now = run.clock()
    last, run.asked = now - run.asked, now
    spent = now - run.started
    room = 0.0 if run.kind == "steps" else min(last, 0.5 * run.amount)
    return 1.0 if spent + room >= run.amount else spent / run.amount


def report(step: int, loss: float) -> None:
    """Tell the harness the number of steps done and the training loss, in nats a token."""
    run = _current()
    run.steps = step
    run.wire.send({"step": step, "loss": repr(float(loss))})


def save(model: nn.Module) -> None:
    """Write the weights and end the training; what the process does afterwards changes nothing."""
    from trainer.weights import write_weights

    write_weights(Path(WEIGHTS), model.state_dict())
    run = _current()
    run.wire.send({"saved": True})
    run.wire.receive()
