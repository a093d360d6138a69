"""A session whose model misbehaves in every way goes on, says so, pays for what it got, and finds back."""

import itertools
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from swarm.config import Limits
from swarm.executors.virtual_time import EPOCH
from swarm.home import Home
from swarm.research.ledger import Event, Kind, Ledger
from swarm.view import View
from tests.fakes.endpoint import Reply, Request, endpoint, prompt_of, says
from tests.thinking_session import ThinkingBench, thinking_bench

DOWN, UP = EPOCH + 300, EPOCH + 900  # ten minutes


class Model:
    """Sound answers: one edit at a time, an approving reviewer, a reader with nothing to say."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def __call__(self, request: Request) -> Reply:
        system = request["messages"][0]["content"]
        if system.startswith("You stop proposals"):
            known = {"plausible": "yes", "redundant_with": None, "confounded": False, "reasons": ["sound"]}
            return says({"verdict": "APPROVED", **known})
        if system.startswith("You find what"):
            return says({"claims": [], "answers": [], "directions": []})
        number = next(self._numbers)
        edits = [{"search": "X = ", "replace": f"EXTRA_{number} = 1\nX = "}]
        known = {"settings": [], "expected_gain": None, "why_new": "", "cites": []}
        idea = {"hypothesis": f"constant {number} helps", "edits": edits, **known}
        return says({"wave": None, "experiments": [idea]})


def events_of(home: Path, kind: Kind) -> list[Event]:
    with closing(Ledger(home / "ledger.db")) as ledger:
        return [event for event in ledger.events("bowl-1") if event.kind is kind]


def status_of(lab: ThinkingBench) -> Any:
    with View(Home(lab.root, create=False)) as view:
        return view.refresh().status()


# ---- one fault after the other ------------------------------------------------------------------------------

UNPAID = (
    Reply(status=429, text="slow down", headers={"Retry-After": "7"}),
    Reply(status=500, text="oops"),
    Reply(drops=True),
    Reply(status=400, text="Unsupported parameter: response_format json_schema"),
    Reply(status=400, text="too long", error={"type": "exceed_context_size_error", "n_ctx": 10}),
)
PAID = (
    Reply(refusal="I would rather not"),
    Reply(text="Let me think about it."),
    Reply(text='{"wave": null, "experi', finish="length"),
)


def test_every_fault_is_outlived_and_costs_add_up_to_the_token(tmp_path: Path) -> None:
    sound, faults, asked = Model(), [*UNPAID, *PAID], Counter[str]()

    def brain(request: Request) -> Reply:
        """Every other question goes wrong, as long as there is a fault left."""
        asked["all"] += 1
        return faults.pop(0) if faults and asked["all"] % 2 else sound(request)

    with endpoint(brain) as server:
        roles = ["proposer", "reviewer", "reader"]
        limits = Limits(hours=None, experiments=10)
        lab = thinking_bench(tmp_path, server, roles, limits=limits, proposers=["llm"])
        assert lab.worked_thinking() == "all 10 experiments are done"
    assert not faults
    with closing(sqlite3.connect(tmp_path / "bowl-1" / "thoughts.db")) as db:
        kept = [f"{run}/{number}" for run, number in db.execute("SELECT run, number FROM replies")]
    assert len(server.requests) == len(kept) + len(UNPAID)  # nothing was asked again but what had no answer
    charged = {event.key: event.data for event in events_of(tmp_path, Kind.MODEL_ASKED)}
    assert charged.keys() == set(kept)
    status = status_of(lab)
    assert status["tokens"] == sum(server.billed)
    assert not any(one["estimated"] for one in status["models"].values())
    assert status["models"]["proposer-llm"]["calls"] >= 3
    schemas = ["response_format" in request for request in server.requests]
    assert schemas == sorted(schemas, reverse=True)  # what the server lacks is not asked for again
    assert "Its schema" in prompt_of(server.requests[-1])


def test_a_model_that_is_not_there_is_said_once_and_rules_do_the_work(tmp_path: Path) -> None:
    with endpoint(Model()) as server:
        lab = thinking_bench(
            tmp_path, server, ["proposer"], limits=Limits(hours=None, experiments=6), proposers=["llm"]
        )
        server.models = ["another"]
        assert lab.worked_thinking() == "all 6 experiments are done"
    (told,) = events_of(tmp_path, Kind.TOLD)
    assert "proposes no more" in told.data["line"]
    assert "`scripted` does not exist" in told.data["line"]
    authors = {event.data["author"] for event in events_of(tmp_path, Kind.PROPOSED)}
    assert authors - {"ablation"} == {"baseline", "proposer"}


# ---- ten minutes without an endpoint ------------------------------------------------------------------------


@pytest.mark.parametrize("proposers", [(), ("llm",)], ids=["beside the optimiser", "alone"])
def test_ten_minutes_without_an_endpoint_are_worked_through_by_rule(tmp_path: Path, proposers: tuple[str, ...]) -> None:
    sound, tries = Model(), list[float]()
    now: Callable[[], float] = lambda: 0.0  # noqa: E731 - until there is a lab

    def brain(request: Request) -> Reply:
        if not DOWN <= now() < UP:
            return sound(request)
        tries.append(now())
        return Reply(drops=True) if now() < (DOWN + UP) / 2 else Reply(status=503, text="overloaded")

    with endpoint(brain) as server:
        limits = Limits(hours=0.5)
        roles = ["proposer", "reviewer"]
        lab = thinking_bench(tmp_path, server, roles, limits=limits, proposers=proposers, screen_seconds=40)
        now = lab.clock.now
        assert "hours" in lab.worked_thinking()

    proposed = events_of(tmp_path, Kind.PROPOSED)
    while_down = Counter(event.data["author"] for event in proposed if DOWN + 60 < event.at < UP)
    assert while_down["proposer"] >= 1
    assert while_down["proposer-llm"] <= 1  # thought of before
    assert not [event for event in events_of(tmp_path, Kind.MODEL_ASKED) if DOWN < event.at < UP]
    after = [event for event in proposed if event.at > UP and event.data["author"] == "proposer-llm"]
    assert not proposers or after[0].at < UP + 360  # beside another it may not be its turn in so short a session

    told = [(event.at, event.data["author"], event.data["line"]) for event in events_of(tmp_path, Kind.TOLD)]
    resting = [line for at, author, line in told if author == "proposer-llm" and "rests for" in line]
    assert resting
    assert all("gave no answer in 6 attempts" in line for line in resting)
    assert not after or ("proposer-llm", "thinks again") in [(author, line) for _, author, line in told]
    assert len(tries) <= 6 * (len(resting) + 4)  # a few attempts a rest, not a hail of them
    assert not after or not (status_of(lab)["models"]["proposer-llm"]["told"] or "").startswith("rests")

    started = [event.at for event in events_of(tmp_path, Kind.TRIAL_STARTED) if DOWN < event.at < UP]
    assert max(later - earlier for earlier, later in itertools.pairwise([DOWN, *started, UP])) < 120  # slots stay busy
