"""The reviewer that thinks is measured: of what it turns down a sample runs to its end, and `swarm status` tells."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from swarm.cli import app
from swarm.config import Limits
from tests.fakes.endpoint import Reply, Request, endpoint, says
from tests.thinking_session import thinking_bench

GOOD, BAD, UNSEEN = 3.0, 0.5, 2.5  # values of X: the loss is least at 3
SEED = 56  # by which the first two of three that are turned down are drawn into the sample


def idea(value: float) -> dict[str, Any]:
    known = {"edits": [], "expected_gain": None, "why_new": "", "cites": []}
    return {"hypothesis": f"X = {value}", "settings": [{"name": "X", "value": value}], **known}


def brain(request: Request) -> Reply:
    """Proposes three things once, and turns all of them down."""
    if request["messages"][0]["content"].startswith("You stop proposals"):
        known = {"plausible": "no", "redundant_with": None, "confounded": False, "reasons": ["I doubt it"]}
        return says({"verdict": "REJECTED", **known})
    ideas = [idea(GOOD), idea(BAD), idea(UNSEEN)] if "X = 3.0" not in request["messages"][1]["content"] else []
    return says({"wave": None, "experiments": ideas})


def swarm(home: Path, *arguments: str) -> str:
    done = CliRunner().invoke(app, ["--home", str(home), *arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_what_the_reviewer_turned_down_is_sampled_run_and_settles_its_precision(tmp_path: Path) -> None:
    with endpoint(brain) as server:
        limits = Limits(hours=None, experiments=4)
        roles = ["proposer", "reviewer"]
        lab = thinking_bench(tmp_path, server, roles, limits=limits, proposers=["llm"], seed=SEED)
        lab.worked_thinking()
    told = {one["hypothesis"]: one for one in json.loads(swarm(tmp_path, "experiments", "--json"))}
    good, bad, unseen = (told[f"X = {value}"] for value in (GOOD, BAD, UNSEEN))
    assert (good["status"], bad["status"], unseen["status"]) == ("CONFIRMED", "PRUNED", "REJECTED")
    assert good["trials"]
    assert bad["trials"]
    assert not unseen["trials"]
    assert json.loads(swarm(tmp_path, "status", "--json"))["reviewer"] == {
        "judged": 3, "turned_down": 3, "sampled": 2, "over": 2, "right": 1, "precision": 0.5,
    }  # fmt: skip
    assert "judged 3, turned down 3, of which 2 ran as a sample, right about 1 of 2" in swarm(tmp_path, "status")
    happened = swarm(tmp_path, "experiment", good["id"])
    assert "judged by a reviewer that thinks: REJECTED, and runs as a sample all the same" in happened
    assert "it runs all the same" in swarm(tmp_path, "notebook", "show", f"{good['id']}-review")
