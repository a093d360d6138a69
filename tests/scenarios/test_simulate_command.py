"""`swarm simulate` from the command line: figures, a picture, a landscape fitted to a file of trials."""

import json
import random
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from typer.testing import CliRunner

from swarm.cli import app

SMALL = ["simulate", "--slots", "H100:3,H200:1", "--hours", "0.5", "--budget", "60", "--overhead", "5", "--think", "4"]


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    """Eighty trials of a bowl of two constants; the widest do not run."""
    draw = random.Random(0)
    rows = []
    for number in range(80):
        config = {"RATE": 10 ** draw.uniform(-3, -1), "WIDTH": draw.choice([32, 64, 96, 128, 160])}
        if number % 8 == 0:
            config = {"RATE": 0.01, "WIDTH": 64}
        value = 1.0 + (np.log10(config["RATE"]) + 1.5) ** 2 + (config["WIDTH"] / 128 - 1) ** 2 + draw.gauss(0, 0.002)
        failed = config["WIDTH"] == 160
        rows.append(
            {
                "config": config,
                "status": "crashed" if failed else "completed",
                "loss": None if failed else float(value),
                "seconds": 9.0 if failed else 60.0,
            }
        )
    path = tmp_path / "trials.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_night_on_a_fitted_landscape_with_its_picture(trials: Path, tmp_path: Path) -> None:
    picture = tmp_path / "night.png"
    done = CliRunner().invoke(app, [*SMALL, "--trials", str(trials), "--plot", str(picture), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.output)
    assert set(told) == {
        "experiments", "valid", "occupancy", "proposals", "by_tier", "waits", "gaps", "metric", "baseline", "best",
        "best_over_time", "lockstep",
    }  # fmt: skip
    assert told["metric"] == "loss"
    assert set(told["occupancy"]) == {"H100", "H200", "all"}
    assert 0.9 < told["occupancy"]["all"] <= 1.0
    assert told["experiments"] == sum(told["by_tier"].values()) > told["proposals"] > 20
    assert told["lockstep"]["experiments"] < 0.8 * told["experiments"]
    assert set(told["waits"]) == {"screen", "validate"}
    assert told["best"] == told["best_over_time"][-1][1] < told["baseline"]
    times = [hours for hours, _ in told["best_over_time"]]
    assert times == sorted(times)
    assert 0 < times[0] < times[-1] <= 0.5
    drawn = matplotlib.image.imread(picture)[..., :3]
    for colour in ((31, 119, 180), (255, 127, 14)):  # matplotlib's tab:blue screens, tab:orange validates
        share = np.isclose(drawn, np.array(colour) / 255, atol=0.01).all(axis=-1).mean()
        assert share > 0.01, "bars of both tiers are in the picture"


def test_the_same_in_words(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, SMALL)
    assert done.exit_code == 0, done.output
    lines = {line[:15].strip(): line[15:] for line in done.output.splitlines()}
    assert {"swarm", "lockstep waves", "ideas", "wait, screen", "wait, validate", "idle slot"} <= set(lines)
    assert "experiments" in lines["swarm"]
    assert "busy: H100" in lines["swarm"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--slots", "H100:none"], "write H100:13,H200:3"),
        (["--plot", "night.bmp"], "ends in .png, .svg or .pdf"),
        (["--plot", "no/such/folder/night.png"], "no such folder"),
        (["--trials", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_what_cannot_be_is_said_before_the_night_begins(given: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["simulate", "--hours", "1000", *given])
    assert done.exit_code != 0
    assert told in f"{done.output} {done.exception}"
