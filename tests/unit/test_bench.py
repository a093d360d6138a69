"""Strategies side by side: the same budget for all, failures charged, a fitted objective that knows its own quality."""

import gzip
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from swarm.assemble.benching import studio
from swarm.bench.contest import contest, entrants, side_by_side, words_of
from swarm.bench.objective import FittedObjective, cross_validate
from swarm.bench.race import Course, Measured, Measurement, Objective, Point, Race, Remembered, race
from swarm.bench.report import Rules, plot, summary
from swarm.bench.strategies import Config, Greedy, Maker, peers
from swarm.bench.trials_file import TrialsFile, read_trials
from swarm.cli import app
from swarm.errors import InputError, SwarmError
from swarm.research.space import in_range, to_unit
from tests.fakes.endpoint import Reply, Request, endpoint, prompt_of, says
from trainer.contract import Range, find_task

RANGES = {
    "RATE": Range(low=1e-3, high=1e-1, log=True),
    "WIDTH": Range(low=16, high=256, integer=True),
    "DECAY": Range(low=0.0, high=0.5),
    "KIND": Range(choices=("a", "b")),
}
START: Config = {"RATE": 1.5e-2, "WIDTH": 96, "DECAY": 0.2, "KIND": "a"}


def score(config: Config) -> float | None:
    """Lowest, 1.0, at RATE 0.03, WIDTH 160, DECAY 0.1, KIND b; too wide does not fit."""
    if float(config["WIDTH"]) > 200:
        return None
    off = (
        to_unit(config["RATE"], RANGES["RATE"]) - 0.74,
        float(config["WIDTH"]) / 240 - 0.67,
        float(config["DECAY"]) - 0.1,
    )
    return 1.0 + 0.2 * sum(x * x for x in off) + (0.02 if config["KIND"] == "a" else 0.0)


class Bowl:
    """An objective in memory that counts what it was asked."""

    metric, minimize, ranges, start, at_once = "loss", True, RANGES, START, 1

    def __init__(self) -> None:
        self.asked: list[tuple[Config, float]] = []

    def measure(self, wanted: Measurement) -> Measured:
        self.asked.append((wanted.config, wanted.share))
        value = score(wanted.config)
        if value is None:
            return Measured(value=None, seconds=10.0)
        noise = random.Random(wanted.seed).gauss(0, 0.001)
        return Measured(value=value + noise, seconds=100.0 * (wanted.share - wanted.after))

    def truth(self, config: Config) -> float | None:
        return score(config)


def raced(
    objective: Objective, name: str, maker: Maker, *, gpu_seconds: float, slots: int = 1, gpu_price: float = 1.0
) -> Race:
    """One race by itself, to its end."""
    course = race(objective, name, maker, 1, gpu_seconds=gpu_seconds, slots=slots, gpu_price=gpu_price)
    (ran,) = side_by_side(objective, [course])
    return ran


def trials_of(count: int) -> list[dict[str, Any]]:
    draw = random.Random(3)
    rows = []
    for number in range(count):
        config: dict[str, Any] = {
            "RATE": 10 ** draw.uniform(-3, -1),
            "WIDTH": draw.randint(16, 256),
            "DECAY": draw.uniform(0, 0.5),
            "KIND": draw.choice("ab"),
        }
        value = score(START if number % 20 == 0 else config)
        rows.append(
            {
                "config": dict(START) if number % 20 == 0 else config,
                "status": "crashed" if value is None else "completed",
                "loss": None if value is None else value + draw.gauss(0, 0.001),
                "seconds": 12.0 if value is None else 300.0,
            }
        )
    return rows


def written(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "trials.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> TrialsFile:
    return read_trials(written(tmp_path_factory.mktemp("trials"), trials_of(300)))


def test_a_trials_file_tells_its_metric_ranges_and_start(file: TrialsFile) -> None:
    assert file.metric == "loss"
    assert file.start == START
    assert file.ranges["RATE"].log
    assert not file.ranges["DECAY"].log
    assert file.ranges["WIDTH"].integer
    assert file.ranges["KIND"].choices == ("a", "b")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda rows: rows[5].update(seconds=None), "line 6: needs positive `seconds`"),
        (lambda rows: rows[5]["config"].pop("RATE"), "line 6: its constants are not those of line 1"),
        (lambda rows: [row.update(other=1.0) for row in rows], "exactly one number"),
        (lambda rows: rows.__delitem__(slice(20, None)), "at least 50"),
    ],
)
def test_a_file_that_is_no_trials_file_says_where(tmp_path: Path, spoil: Any, told: str) -> None:
    rows = trials_of(300)
    spoil(rows)
    with pytest.raises(InputError, match=told):
        read_trials(written(tmp_path, rows))


def test_a_fitted_objective_scores_and_fails_as_the_trials_did(file: TrialsFile) -> None:
    objective, quality = FittedObjective(file), cross_validate(file)
    assert quality.spearman > 0.97
    assert quality.failure_auc > 0.99
    assert objective.noise == pytest.approx(0.001, rel=0.5)
    assert objective.truth(START) == pytest.approx(score(START), abs=0.003)
    wide = {**START, "WIDTH": 250}
    assert objective.measure(Measurement(config=wide, seed=1)) == Measured(value=None, seconds=12.0)
    whole, quarter = Measurement(config=START, seed=1), Measurement(config=START, seed=1, share=0.25)
    assert objective.measure(whole) == objective.measure(whole)
    assert (objective.measure(whole).seconds, objective.measure(quarter).seconds) == (300.0, 75.0)
    assert objective.best_of([]) == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("name", ["random", "tpe", "cmaes", "gp", "asha", "greedy", "swarm"])
def test_every_strategy_keeps_to_the_budget_and_the_ranges(name: str) -> None:
    bowl = Bowl()
    ran = raced(bowl, name, entrants([name], find_task("tinytext"))[name], gpu_seconds=2000.0)
    assert bowl.asked[0][0] == START
    assert ran.curve[-1].gpu_seconds <= 2000.0
    assert all(in_range(config[key], within) for config, _ in bowl.asked for key, within in RANGES.items())
    assert ran.best <= (score(START) or 0.0) + 1e-9
    assert ran.trials >= 20 or name == "asha"
    assert any(share < 1 for _, share in bowl.asked) == (name == "asha")


def test_the_gaussian_process_turns_back_from_where_trials_fail() -> None:
    strategy = entrants(["gp"], find_task("tinytext"))["gp"](RANGES, START, 0)
    ran = []
    for _ in range(24):
        ticket = strategy.ask()
        width = float(ticket.config["WIDTH"])  # the more, the better, and what is too wide fails
        ran.append(width <= 200)
        strategy.tell(ticket, width if ran[-1] else None)
    assert sum(ran[12:]) >= 8


def test_slots_share_one_budget_and_time_runs_for_all() -> None:
    one, four = (raced(Bowl(), "greedy", Greedy, gpu_seconds=4000.0, slots=slots) for slots in (1, 4))
    assert four.curve[-1].gpu_seconds <= 4000.0
    assert four.curve[-1].wall_seconds <= 0.4 * one.curve[-1].wall_seconds


def test_a_contest_ends_in_a_table_with_paired_tests(tmp_path: Path) -> None:
    said: list[str] = []
    names = {name: peers()[name] for name in ("random", "greedy")}
    ran = contest(Bowl(), names, seeds=3, gpu_seconds=3000.0, slots=1, say=said.append)
    rules = Rules(metric="loss", minimize=True, best_known=1.0, gpu_seconds=3000.0, slots=1)
    told = summary(ran, rules)
    rows = {row["name"]: row for row in told["strategies"]}
    assert list(rows) == ["random", "greedy"]
    assert rows["random"]["mean_regret"] == pytest.approx(rows["random"]["mean_best"] - 1.0)
    assert 0 < rows["random"]["crashed_share"] < 0.5
    assert told["target_of"] == "greedy"
    assert rows["greedy"]["cost_to_target"] <= 3000 / 3600
    assert [(test["a"], test["b"]) for test in told["tests"]] == [("random", "greedy")]
    assert 0 < told["tests"][0]["p"] <= 1
    assert rows["greedy"]["finals"] == [race.best for race in ran if race.strategy == "greedy"]
    assert len(said) == 6
    plot(ran, rules, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


class Pairs(Bowl):
    """Makes two measurements at a time; each waits for another that is under way with it."""

    at_once = 2

    def __init__(self) -> None:
        super().__init__()
        self._two = threading.Barrier(2)

    def measure(self, wanted: Measurement) -> Measured:
        self._two.wait(timeout=60)
        return super().measure(wanted)


def test_races_take_turns_as_many_as_there_are_slots_at_once() -> None:
    def course(number: int) -> Course:
        for trial in range(6):
            yield Measurement(config=START, seed=number, share=1 / (trial + 1))
        point = Point(gpu_seconds=1.0, wall_seconds=1.0, best=1.0)
        return Race(strategy=str(number), seed=0, trials=6, failed=0, curve=(point,), winner={})

    pairs = Pairs()
    ran = list(side_by_side(pairs, [course(number) for number in range(4)]))
    assert sorted(race.strategy for race in ran) == ["0", "1", "2", "3"]
    turns = [round(1 / share) for _, share in pairs.asked]
    assert all(abs(turn - 1 - place // 4) <= 1 for place, turn in enumerate(turns))  # nobody runs ahead


def test_a_race_of_short_measurements_keeps_up_with_one_of_long_ones() -> None:
    def course(share: float) -> Course:
        for _ in range(int(6 / share)):
            yield Measurement(config=START, seed=0, share=share)
        point = Point(gpu_seconds=1.0, wall_seconds=1.0, best=1.0)
        return Race(strategy=str(share), seed=0, trials=6, failed=0, curve=(point,), winner={})

    bowl, charged = Bowl(), {1.0: 0.0, 0.25: 0.0}
    assert len(list(side_by_side(bowl, [course(share) for share in charged]))) == 2
    for _, share in bowl.asked:
        charged[share] += share
        assert abs(charged[1.0] - charged[0.25]) <= 1
    assert charged == {1.0: 6.0, 0.25: 6.0}


def ended(name: str, finals: list[float]) -> list[Race]:
    point = [Point(gpu_seconds=1.0, wall_seconds=1.0, best=final) for final in finals]
    return [
        Race(strategy=name, seed=seed, trials=1, failed=0, curve=(one,), winner={}) for seed, one in enumerate(point)
    ]


def test_a_strategy_that_wins_under_every_seed_is_not_called_noise_for_winning_by_far_twice() -> None:
    greedy = [1.0005, 1.0015, 1.0010, 1.0010, 1.0011, 1.0011, 1.0094, 1.0087]
    swarm = [1.0003, 1.0001, 1.0002, 1.0006, 1.0004, 1.0002, 1.0003, 1.0001]
    rules = Rules(metric="loss", minimize=True, best_known=1.0, gpu_seconds=1.0, slots=1)
    (test,) = summary([*ended("swarm", swarm), *ended("greedy", greedy)], rules)["tests"]
    assert test["wins"] == 8
    assert test["p"] == pytest.approx(2 / 2**8)  # all eight signs alike, either way
    assert test["p_t"] > 0.05
    (same,) = summary([*ended("a", swarm), *ended("b", swarm)], rules)["tests"]
    assert (same["p"], same["wins"]) == (1.0, 0)


def ideas(request: Request) -> Reply:
    """A model that sets RATE, each time otherwise."""
    number = prompt_of(request).count(" by proposer: ")
    idea = {"hypothesis": "a larger rate", "edits": [], "expected_gain": None, "why_new": "", "cites": [],
            "settings": [{"name": "RATE", "value": round(0.02 + 0.001 * number, 4)}]}  # fmt: skip
    return says({"wave": None, "experiments": [idea]})


@pytest.mark.parametrize("name", ["llm", "hybrid"])
def test_what_a_model_takes_is_charged_like_gpu_time(tmp_path: Path, name: str) -> None:
    with endpoint(ideas) as server:
        config = tmp_path / "swarm.toml"
        config.write_text(f'[models]\nbase_url = "{server.url}"\ninput_price = 1000.0\noutput_price = 2000.0\n')
        with studio([name], config) as room:
            makers = entrants([name], words_of(find_task("tinytext"), Bowl()), room)
            ran = raced(Bowl(), name, makers[name], gpu_seconds=3000.0, gpu_price=100.0)
        prompt, completion = server.billed
        assert "loss" in prompt_of(server.requests[0])
        assert "set constants" in prompt_of(server.requests[0])
    assert ran.tokens == prompt + completion
    assert ran.dollars == pytest.approx((1000 * prompt + 2000 * completion) / 1e6)
    thinking = ran.dollars / 100.0 * 3600
    assert thinking > 100.0  # a trial's worth
    assert ran.curve[-1].gpu_seconds <= 3000.0
    assert ran.trials <= (3000.0 - thinking) / 10 + 1
    assert ran.winner["RATE"] >= 0.02


def test_a_model_that_talks_nonsense_ends_the_race_in_one_line(tmp_path: Path) -> None:
    with endpoint([Reply(text="let me think")]) as server:
        config = tmp_path / "swarm.toml"
        config.write_text(f'[models]\nbase_url = "{server.url}"\n')
        with studio(["llm"], config) as room, pytest.raises(SwarmError, match="no usable answer 3 times in a row"):
            maker = entrants(["llm"], find_task("tinytext"), room)["llm"]
            raced(Bowl(), "llm", maker, gpu_seconds=2000.0)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    kept = tmp_path / "kept" / "measured.jsonl"
    first = raced(Remembered(Bowl(), kept), "greedy", Greedy, gpu_seconds=1500.0)
    text = kept.read_text(encoding="utf-8")
    kept.write_text(text + text.splitlines()[0][:20], encoding="utf-8")  # cut off while writing
    bowl = Bowl()
    assert raced(Remembered(bowl, kept), "greedy", Greedy, gpu_seconds=1500.0) == first
    assert bowl.asked == []
    lines = text.splitlines()  # what is kept is a file of trials, but for what was given up early
    rows = [
        {**json.loads(lines[number % len(lines)]), "config": row["config"]} for number, row in enumerate(trials_of(80))
    ]
    rows[3] |= {"status": "failed", "loss": None}
    rows[4] |= {"share": 0.25}
    assert len(read_trials(written(tmp_path, rows)).trials) == 79


def test_two_that_want_the_same_at_once_have_it_measured_once(tmp_path: Path) -> None:
    class Slow(Bowl):
        def measure(self, wanted: Measurement) -> Measured:
            both.wait()  # until the other wants it too, or would have
            return super().measure(wanted)

    slow, both = Slow(), threading.Event()
    remembered = Remembered(slow, tmp_path / "measured.jsonl")
    with ThreadPoolExecutor(2) as pool:
        wanting = [pool.submit(remembered.measure, Measurement(config=START, seed=1)) for _ in range(2)]
        wait(wanting, timeout=0.2)
        both.set()
        first, second = (one.result() for one in wanting)
    assert first == second
    assert len(slow.asked) == len((tmp_path / "measured.jsonl").read_text().splitlines()) == 1


def test_bench_on_a_trials_file_prints_json(tmp_path: Path) -> None:
    path = written(tmp_path, trials_of(200))
    args = [
        "bench",
        "--trials",
        str(path),
        "--strategies",
        "random,greedy",
        "--seeds",
        "2",
        "--gpu-hours",
        "2",
        "--json",
    ]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [row["name"] for row in told["strategies"]] == ["random", "greedy"]
    assert "cross-validation" in told["surrogate"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--strategies", "llm", "--trials", "nowhere.jsonl"], "llm must have a model: set OPENAI_API_KEY"),
        (["--strategies", "simplex", "--task", "tinytext", "--gpu-hours", "0"], "unknown strategy 'simplex'"),
        ([], "give either --trials FILE or --task TASK"),
        (["--trials", "nowhere.jsonl"], "check the --trials path"),
    ],
)
def test_bench_says_what_is_wrong_in_one_line(tmp_path: Path, args: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["--home", str(tmp_path), "bench", *args])
    assert result.exit_code == 2
    assert told in result.stderr
