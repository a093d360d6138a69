"""The task hopper beside karpathy/autoresearch's own train.py: same card, same model shape, same shards, one run.

    python -m tests.bench.bench_hopper AUTORESEARCH

AUTORESEARCH is a checkout of it that was prepared as its README says (`uv sync`, `uv run prepare.py`). Its train.py
runs first, as it stands; then ours trains for the same 300 seconds on the shards that it fetched, with its constants.
Prints tokens a second, MFU and peak memory of both. Without an H100 or H200 it measures nothing and says so.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from swarm.hardware import cuda_slots
from swarm.research.experiment import Knob
from swarm.research.knobs import set_knobs
from tests.trainer_lab import finish, prepared, write_trial
from trainer.contract import BudgetKind, find_task

TASK = find_task("hopper")
SHAPE = ("DEPTH", "ASPECT_RATIO", "HEAD_DIM", "WINDOW_PATTERN", "TOTAL_BATCH_SIZE", "DEVICE_BATCH_SIZE")
SHARDS = Path("~/.cache/autoresearch/data").expanduser()
SECONDS = 300.0  # autoresearch's budget
UNTIMED_STEPS = 11  # at the start of its training, which its clock leaves out


def shape_of(source: str) -> dict[str, Knob]:
    """The constants of a train.py that fix what is computed; `2**19` is understood too."""
    found: dict[str, Knob] = {}
    for name in SHAPE:
        match = re.search(
            rf"^{name} = (?:\"(?P<text>\w+)\"|(?P<base>\d+)(?:\*\*(?P<power>\d+))?)", source, re.MULTILINE
        )
        if match is None:
            raise SystemExit(f"its train.py has no plain constant {name}; this script knows another version of it")
        found[name] = match["text"] or int(match["base"]) ** int(match["power"] or 1)
    return found


def theirs(folder: Path, shape: dict[str, Knob]) -> dict[str, float]:
    """Run autoresearch's train.py as it stands, and read its summary."""
    done = subprocess.run(["uv", "run", "train.py"], cwd=folder, capture_output=True, text=True, check=False)
    said = dict(re.findall(r"^(\w+):\s+([0-9.]+)$", done.stdout, re.MULTILINE))
    if "val_bpb" not in said:
        raise SystemExit(f"autoresearch's train.py failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
    steps = int(said["num_steps"]) - UNTIMED_STEPS
    return {
        "steps": float(said["num_steps"]),
        "tokens_per_second": steps * int(shape["TOTAL_BATCH_SIZE"]) / float(said["training_seconds"]),
        "mfu_percent": float(said["mfu_percent"]),
        "peak_memory_mb": float(said["peak_vram_mb"]),
    }


def ours(shape: dict[str, Knob], scratch: Path) -> dict[str, float]:
    """Run one trial of hopper with this shape on the same shards."""
    os.environ["NIGHTSWARM_SHARDS"] = str(SHARDS)
    data = prepared(TASK.folder, Path("~/.cache/nightswarm/bench-hopper").expanduser())
    source = set_knobs(TASK.editable_path.read_text(encoding="utf-8"), shape)
    folder = scratch / "trial"
    write_trial(folder, TASK.folder, source=source, data_dir=data, budget=SECONDS, kind=BudgetKind.WALL, device=0)
    result = finish(folder)
    if result.metric is None:
        raise SystemExit(f"hopper ended {result.outcome}: {result.message}")
    return {"steps": float(result.steps), **result.extra}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("autoresearch", type=Path)
    arguments = parser.parse_args()
    cards = [slot.accelerator for slot in cuda_slots() if slot.accelerator in ("H100", "H200")]
    if not cards:
        print("no H100 or H200 on this machine: nothing was measured, and nothing is claimed")
        return 0
    if not (arguments.autoresearch / "train.py").is_file() or not SHARDS.is_dir():
        print(f"skipped: {arguments.autoresearch / 'train.py'} or {SHARDS} is not there; prepare autoresearch first")
        return 0
    shape = shape_of((arguments.autoresearch / "train.py").read_text(encoding="utf-8"))
    print(f"on one {cards[0]}, {SECONDS:.0f} s each; " + ", ".join(f"{k} {v}" for k, v in shape.items()))
    rows = {"autoresearch": theirs(arguments.autoresearch, shape)}
    with tempfile.TemporaryDirectory() as scratch:
        rows["hopper"] = ours(shape, Path(scratch))
    for name, row in rows.items():
        print(
            f"{name:12}  {row['steps']:.0f} steps  {row['tokens_per_second']:,.0f} tokens/s  "
            f"MFU {row['mfu_percent']:.1f}%  peak {row['peak_memory_mb']:,.0f} MiB"
        )
    ratio = rows["hopper"]["tokens_per_second"] / rows["autoresearch"]["tokens_per_second"]
    print(f"hopper trains {ratio:.3f} times as many tokens a second")
    return 0


if __name__ == "__main__":
    sys.exit(main())
