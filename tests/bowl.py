"""A task that takes a second: a bowl with its bottom at X = 3 and Y = 2, for sessions in processes of their own."""

from pathlib import Path

TRAIN = """\
import os
import random
import time

X = 1.0
Y = 1.0

print("begun", flush=True)
time.sleep(0.4)
noise = random.Random(os.environ["NIGHTSWARM_SEED"]).gauss(0, 0.01)
print(f"loss: {1 + 0.1 * (X - 3) ** 2 + 0.1 * (Y - 2) ** 2 + noise:.6f}")
"""
TASK = """\
editable = "train.py"
metric = "loss"

[budgets]
screen = { wall = 5 }
validate = { wall = 5 }

[ranges]
X = { low = 0.0, high = 5.0 }
Y = { low = 0.0, high = 5.0 }
"""


def bowl(folder: Path, *, train: str = TRAIN, task: str = TASK) -> Path:
    """Write the task into a new folder; the folder."""
    folder.mkdir()
    (folder / "train.py").write_text(train)
    (folder / "task.toml").write_text(task)
    return folder
