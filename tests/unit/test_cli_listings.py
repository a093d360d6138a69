"""What the commands print of a finished session: JSON fields that scripts depend on, and text for people."""

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from swarm.cli import app
from swarm.leases.lease import Tier
from swarm.leases.manager import LeaseManager
from swarm.ports import Slot, SystemClock
from tests.small_home import SESSION, bare_home, finished_home

TRIAL = {"id", "tier", "slot", "accelerator", "seed", "outcome", "value"}


def swarm(*arguments: str) -> str:
    """Run a command over the finished home; its output."""
    done = CliRunner().invoke(app, ["--home", str(finished_home()), *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def told(*arguments: str) -> Any:
    return json.loads(swarm(*arguments, "--json"))


def test_status_has_the_fields_of_the_table() -> None:
    found = told("status")
    assert set(found) == {
        "session", "state", "task", "elapsed_seconds", "counts", "baseline", "incumbent", "noise", "gpu_hours",
        "dollars", "tokens", "models", "occupancy", "reviewer", "holdout", "ablation",
        "plateau", "reason",
    }  # fmt: skip
    assert set(found["counts"]) == {
        "proposed", "rejected", "held", "running", "pruned", "promoted", "confirmed", "refuted", "crashed",
    }  # fmt: skip
    assert {"experiment", "tier", "value", "baseline_value", "improvement_percent", "ci95"} <= set(found["incumbent"])
    assert found["session"] == SESSION
    assert found["state"] == "ended"
    assert found["counts"]["confirmed"] >= 1
    assert found["incumbent"]["improvement_percent"] > 0
    assert 0.5 < found["occupancy"] <= 1
    assert set(found["baseline"]) == set(found["noise"]) == {"screen", "validate"}


def test_status_for_people_says_the_same() -> None:
    found, text = told("status"), swarm("status", SESSION)
    assert f"{found['incumbent']['value']:.4f}" in text
    assert f"{found['counts']['proposed']} proposed" in text


def test_best_stands_on_its_trials() -> None:
    found = told("best")
    values = [trial["value"] for trial in found["trials"] if trial["tier"] == "validate"]
    assert found["incumbent"]["value"] == pytest.approx(sum(values) / len(values))
    assert all(set(trial) == TRIAL for trial in found["trials"])
    assert found["incumbent"] == told("status")["incumbent"]


def test_the_diff_of_the_best_is_a_patch_of_the_editable_file() -> None:
    diff = swarm("best", "--diff")
    assert diff.startswith("diff --git a/train.py b/train.py")
    assert "\x1b" not in diff  # coloured on a terminal alone
    assert told("best", "--diff")["diff"] == diff


def test_the_best_is_checked_out_into_a_new_folder_and_nothing_is_overwritten(tmp_path: Path) -> None:
    swarm("best", "--checkout", str(tmp_path / "won"))
    won = (tmp_path / "won" / "train.py").read_text()
    for name, value in told("best")["changes"].items():
        assert f"{name} = {value}" in won
    again = CliRunner().invoke(app, ["--home", str(finished_home()), "best", "--checkout", str(tmp_path / "won")])
    assert again.exit_code == 2
    assert "name a new one" in again.stderr


def test_experiments_lists_all_with_their_trials() -> None:
    found = told("experiments")
    taken_apart = sum(one["status"] == "ABLATION" for one in found)
    assert len(found) == told("status")["counts"]["proposed"] + 1 + taken_apart
    for one in found:
        assert set(one) == {"id", "status", "author", "hypothesis", "parent", "trials"}
        assert all(set(trial) == TRIAL for trial in one["trials"])
    assert found[0]["status"] == "BASELINE"
    shown = swarm("experiments").splitlines()
    assert len(shown) == len(found) + 1
    assert "noise, sd of one score: screen 0.0" in shown[0]
    assert "noise, sd of one score: screen 0.0" in swarm("experiment", "e001")


def test_trials_are_exported_for_the_bench(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    assert "wrote" in swarm("experiments", "--export", str(path))
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    screened = [t for one in told("experiments") for t in one["trials"] if t["tier"] == "screen" and t["outcome"]]
    assert len(rows) == len(screened)
    assert [row["loss"] for row in rows] == [trial["value"] for trial in screened]
    assert all(set(row["config"]) == {"X", "Y", "Z"} and row["seconds"] > 0 for row in rows)


@pytest.mark.parametrize("name", ["e001", f"{SESSION}-e001"])
def test_one_experiment_by_its_id_or_the_end_of_it(name: str) -> None:
    found = told("experiment", name)
    assert found["id"] == f"{SESSION}-e001"
    assert found["diff"].startswith("diff --git")
    assert [event["kind"] for event in found["history"]][:2] == ["proposed", "moved"]
    assert all(set(trial) == TRIAL for trial in found["trials"])


def test_one_experiment_is_told_in_order() -> None:
    best = told("best")["incumbent"]["experiment"]
    text = swarm("experiment", best)
    words = ("proposed", "approved", "screening begins", "promoted", "validation begins", "confirmed")
    places = [text.index(f"  {word}\n", text.index("what happened")) for word in words]
    assert places == sorted(places)
    assert "validated gain" in text


def test_leases_shows_slots_and_queue() -> None:
    found = told("leases")
    assert [slot["slot"] for slot in found["slots"]] == ["cpu-0", "cpu-1"]
    assert all(slot["trial"] is None for slot in found["slots"])
    assert found["queue"] == []
    assert "nobody waits" in swarm("leases")


def test_leases_shows_how_fast_slots_are_and_why_one_is_not_used(tmp_path: Path) -> None:
    home = bare_home(tmp_path / "home")
    with closing(LeaseManager(home / "leases.db", SystemClock())) as manager:
        slots = [Slot(name=f"h100-{n}", accelerator="H100", device=n, price_per_hour=2.5) for n in range(2)]
        manager.register(slots, [Tier(name="screen")])
        manager.note_speed("h100-0", 3.525)
        manager.set_unavailable("h100-1", "GPU 1 is used by process 4711")
    done = CliRunner().invoke(app, ["--home", str(home), "leases", "--json"])
    first, second = json.loads(done.stdout)["slots"]
    assert (first["steps_per_second"], first["price_per_hour"], first["unavailable"]) == (3.525, 2.5, None)
    assert (second["steps_per_second"], second["unavailable"]) == (None, "GPU 1 is used by process 4711")
    shown = CliRunner().invoke(app, ["--home", str(home), "leases"]).stdout
    assert "3.52" in shown
    assert "4711" in shown


def test_the_notebook_is_listed_searched_and_shown() -> None:
    listed = told("notebook", "list", "-n", "5")
    assert len(listed) == 5
    decisions = told("notebook", "list", "--kind", "decision")
    assert {entry["kind"] for entry in decisions} == {"decision"}
    hits = told("notebook", "search", "confirmed gain over the incumbent")
    assert set(hits[0]) == {
        "id", "kind", "title", "score", "author", "created_at", "session", "experiment", "citations",
        "snippet",
    }  # fmt: skip
    assert hits[0]["id"] in {decision["id"] for decision in decisions}
    shown = told("notebook", "show", hits[0]["id"])
    assert shown["data"]["outcome"] in ("CONFIRMED", "REFUTED")
    assert shown["title"] in swarm("notebook", "show", hits[0]["id"]).replace("\\", "")


def test_a_note_is_written_and_found_beside_the_owner() -> None:
    written = told("notebook", "note", "try a wider bowl\nfor once")
    found = told("notebook", "show", written["id"])
    assert (found["kind"], found["title"]) == ("note", "try a wider bowl")
    assert told("notebook", "search", "wider bowl")[0]["id"] == written["id"]


@pytest.mark.parametrize(("name", "form"), [("n.ipynb", None), ("n.md", None), ("n.tsv", None), ("n", "results.tsv")])
def test_the_notebook_is_exported(tmp_path: Path, name: str, form: str | None) -> None:
    file = tmp_path / name
    swarm("notebook", "export", str(file), *(["--to", form] if form else []))
    text = file.read_text()
    if name == "n.ipynb":
        assert json.loads(text)["nbformat"] == 4
    elif name == "n.md":
        assert text.startswith("# ")
    else:
        assert text.splitlines()[0].split("\t") == ["commit", "val_bpb", "memory_gb", "status", "description"]
        assert "keep" in text


def test_stop_says_when_nothing_runs() -> None:
    for command in ("stop", "pause", "resume"):
        done = CliRunner().invoke(app, ["--home", str(finished_home()), command])
        assert done.exit_code == 2
        assert "not running" in done.stderr


def test_watch_tells_a_finished_session_and_ends() -> None:
    lines = swarm("watch").splitlines()
    assert "begins" in lines[0]
    assert any("run ended" in line for line in lines)


def test_a_home_is_found_before_or_after_the_command_or_in_the_environment() -> None:
    home = str(finished_home())
    before = CliRunner().invoke(app, ["--home", home, "status", "--json"], env={"SWARM_HOME": "/nowhere"})
    after = CliRunner().invoke(app, ["--home", "/nowhere", "status", "--json", "--home", home])
    environment = CliRunner().invoke(app, ["status", "--json"], env={"SWARM_HOME": home})
    nested = CliRunner().invoke(app, ["notebook", "list", "--json", "--home", home])
    assert json.loads(before.stdout)["session"] == json.loads(after.stdout)["session"] == SESSION
    assert json.loads(environment.stdout)["session"] == SESSION
    assert nested.exit_code == 0


def test_tasks_are_listed_and_checked() -> None:
    assert "tinytext" in {task["name"] for task in told("task", "list")}
    found = told("task", "check", str(finished_home() / "bowl"))
    assert found["metric"] == "loss"
    assert set(found["constants"]) == {"X", "Y", "Z"}


def test_help_and_version_are_quick_because_nothing_heavy_is_imported() -> None:
    code = "import sys, swarm.cli; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"rich", "asyncio", "numpy", "pydantic", "chromadb", "optuna", "langgraph", "openai", "torch", "sky"}
    assert not heavy & set(modules)
    assert swarm("--version").startswith("nightswarm ")
