"""Several specialists of one role at once, each with a model, a temperature and instructions of its own."""

import threading
from pathlib import Path
from typing import Any

from swarm.config import AgentSettings, Limits
from swarm.home import Home
from swarm.view import View
from tests.fakes.endpoint import Reply, Request, endpoint, says
from tests.thinking_session import thinking_bench

BOLD = AgentSettings(role="proposer", name="bold", temperature=1.2, instructions="Prefer changes of the architecture.")
CAREFUL = AgentSettings(role="proposer", name="careful", model="another", instructions="One small change at a time.")
SEED = 5  # by which the first wave is shared evenly


class Model:
    """Two who think at once: the first question is answered only when the other has come too."""

    def __init__(self) -> None:
        self.both = threading.Barrier(2)
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Reply:
        self.asked.append(request)
        first = sum(one["model"] == request["model"] for one in self.asked) == 1
        if first:
            self.both.wait(30)
        name, number = request["model"].upper(), len(self.asked)
        known: dict[str, Any] = {"settings": [], "expected_gain": None, "why_new": "", "cites": []}
        edits = [{"search": "X = ", "replace": f"{name}_{number} = 1\nX = "}]
        return says({"wave": None, "experiments": [{"hypothesis": f"{name} {number}", "edits": edits, **known}]})


def test_two_proposers_of_different_minds_think_at_once(tmp_path: Path) -> None:
    model = Model()
    with endpoint(model, models=["scripted", "another"]) as server:
        limits = Limits(hours=None, experiments=6)
        lab = thinking_bench(tmp_path, server, [BOLD, CAREFUL], limits=limits, proposers=["llm"], seed=SEED)
        lab.worked_thinking()
    by = {name: [one for one in model.asked if one["model"] == name] for name in ("scripted", "another")}
    assert {one.get("temperature") for one in by["scripted"]} == {1.2}
    assert {one.get("temperature") for one in by["another"]} == {None}
    assert all(BOLD.instructions in one["messages"][0]["content"] for one in by["scripted"])
    assert all(CAREFUL.instructions in one["messages"][0]["content"] for one in by["another"])
    with View(Home(tmp_path, create=False)) as view:
        spent = view.refresh().status()["models"]
        authors = {one.author for one in view.state.experiments.values()}
    assert authors >= {"baseline", "proposer-bold", "proposer-careful"}
    assert spent["proposer-bold"]["calls"] == len(by["scripted"])
    assert spent["proposer-careful"]["calls"] == len(by["another"])
