"""The optimiser's strategy on cheap response surfaces: it screens, follows what won, and finds most of the gain."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from notebook_store.entry import Entry, Kind
from notebook_store.notebook import Notebook
from swarm.agents.optimizer import OptimizerProposer
from swarm.ports import Brief, Observation
from swarm.research.effects import Effect, code, main_effects, trends
from swarm.research.experiment import Knob, Proposal
from swarm.research.knobs import read_knobs
from swarm.research.search import followed
from swarm.research.space import from_unit, to_unit
from swarm.research.tried import Seen, Space
from tests.fake_embedder import WordEmbedder
from trainer.contract import Direction, Range, find_task

Config = dict[str, Knob]

RANGES = {
    **{f"RATE_{i}": Range(low=1e-4, high=1e-1, log=True) for i in range(5)},
    **{f"SIZE_{i}": Range(low=2, high=64, log=True, integer=True) for i in range(3)},
    "KIND": Range(choices=("a", "b", "c")),
    "TIED": Range(choices=(False, True)),
}
START: Config = {
    **{f"RATE_{i}": 3e-3 for i in range(5)},
    **{f"SIZE_{i}": 8 for i in range(3)},
    "KIND": "a",
    "TIED": False,
}
NUMBERS = [name for name in RANGES if name not in ("KIND", "TIED")]


def surface(seed: int) -> tuple[Callable[[Config], float], float]:
    """Gains with optima anywhere in the ranges, weights over a factor of thirty and three interactions between
    neighbours that leave the optimum where it is; and the gain that is there to be found.
    """
    draw = Random(seed)
    optimum = {name: draw.random() for name in NUMBERS}
    weight = {name: draw.choice([0.02, 0.05, 0.1, 0.3, 0.6]) for name in NUMBERS}
    pairs = [(draw.sample(NUMBERS, 2), draw.uniform(-1, 1)) for _ in range(3)]
    worth = {"a": 0.0, "b": draw.uniform(-0.05, 0.1), "c": draw.uniform(-0.05, 0.1)}
    tied = draw.uniform(-0.05, 0.05)

    def height(config: Config) -> float:
        off = {name: to_unit(config[name], RANGES[name]) - optimum[name] for name in NUMBERS}
        value = -sum(weight[name] * off[name] ** 2 for name in NUMBERS)
        value -= sum(k * min(weight[a], weight[b]) * off[a] * off[b] for (a, b), k in pairs)
        return value + worth[str(config["KIND"])] + (tied if config["TIED"] else 0.0)

    start = height(START)
    best = max(worth.values()) + max(tied, 0.0)
    return lambda config: height(config) - start, best - start


class Lab:
    """Runs waves on a surface and writes the analyst's findings, as a session would."""

    def __init__(self, notebook: Notebook, seed: int) -> None:
        self.notebook, self.seed = notebook, seed
        self.truth, self.attainable = surface(seed)
        self.noise = 0.02 * self.attainable
        self.draw = Random(seed + 1000)
        self.seen: list[Observation] = []

    def measure(self, config: Config, wave: str) -> None:
        gain = self.truth(config) + self.draw.gauss(0, self.noise)
        name = f"s{self.seed}-e{len(self.seen):03d}"
        self.seen.append(Observation(experiment=name, wave=wave, knobs=config, gain=gain, outcome="COMPLETED"))

    def brief(self, wave: str, number: int) -> Brief:
        return brief(self.seen, session=f"s{self.seed}", wave=wave, seed=self.seed * 1000 + number, noise=self.noise)

    def analyse(self, wave: str, design: str) -> None:
        own = [o for o in self.seen if o.wave == wave] if design != "search" else self.seen
        configs, gains = [START, *(dict(o.knobs) for o in own)], [0.0, *(o.gain for o in own)]
        if design == "search":
            effects = trends(configs, gains, self.noise)
        else:
            contrasts, rows = code(START, configs)
            effects = main_effects(rows, gains, self.noise, contrasts)
        self.notebook.append(insight(f"s{self.seed}", wave, effects, design))

    async def run(self, trials: int) -> float:
        """Share of the attainable gain that the best-looking configuration truly has."""
        proposer, number = OptimizerProposer(self.notebook), 0
        while len(self.seen) < trials:
            number += 1
            wave = f"wave {number}"
            proposals = await proposer.propose(self.brief(wave, number))
            for proposal in proposals[: trials - len(self.seen)]:
                self.measure({**START, **proposal.changes}, wave)
            self.analyse(wave, proposals[0].design)
        return self.best()

    def random(self, trials: int) -> float:
        for _ in range(trials):
            self.measure({n: from_unit(self.draw.random(), r, START[n]) for n, r in RANGES.items()}, "random")
        return self.best()

    def best(self) -> float:
        return self.truth(dict(max(self.seen, key=lambda o: o.gain or 0.0).knobs)) / self.attainable


def brief(
    seen: list[Observation],
    *,
    session: str = "s",
    wave: str = "wave 1",
    seed: int = 1,
    noise: float = 0.01,
    slots: int = 1,
) -> Brief:
    return Brief(
        session=session,
        task=find_task("tinytext"),
        parent="abc",
        source="".join(f"{name} = {value!r}\n" for name, value in START.items()),
        knobs=START,
        ranges=RANGES,
        observations=tuple(seen),
        noise=noise,
        wanted=12,
        wave=wave,
        seed=seed,
        slots=slots,
    )


def insight(session: str, wave: str, effects: list[Effect], design: str = "plackett-burman") -> Entry:
    rows = [
        {"factor": e.factor, "low": e.low, "high": e.high, "effect": e.effect, "se": e.se, "p": e.p} for e in effects
    ]
    return Entry(
        id=f"{session}-{wave}",
        kind=Kind.INSIGHT,
        title=wave,
        body="",
        author="analyst",
        session=session,
        task="tinytext",
        created_at=float(wave.rsplit(maxsplit=1)[-1]),
        factors=tuple(e.factor for e in effects),
        data={"effects": rows, "design": design, "wave": wave, "baseline": START},
    )


def effect(factor: str, high: Knob, size: float, p: float = 0.01) -> Effect:
    return Effect(factor=factor, low=START[factor], high=high, effect=size, se=0.01, ci=None, p=p)


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "notebook", embedder=WordEmbedder()) as notebook:
        yield notebook


async def propose(notebook: Notebook, asked: Brief) -> list[Proposal]:
    return await OptimizerProposer(notebook).propose(asked)


async def test_the_first_wave_is_a_screening_design(notebook: Notebook) -> None:
    proposals = await propose(notebook, brief([]))
    assert len(proposals) == 11
    assert {proposal.design for proposal in proposals} == {"plackett-burman"}
    counts = {name: sum(name in p.changes for p in proposals) for name in RANGES}
    assert set(counts.values()) == {6}
    assert len({p.changes["RATE_0"] for p in proposals if "RATE_0" in p.changes}) == 1


async def test_the_next_wave_opens_with_what_won_together(notebook: Notebook) -> None:
    found = [effect("RATE_0", 7.5e-3, 0.08), effect("SIZE_1", 4, 0.05), effect("RATE_2", 7.5e-3, 0.01, p=0.6)]
    notebook.append(insight("s", "wave 1", found))
    seen = [
        Observation(experiment="s-e001", wave="wave 1", knobs={**START, "TIED": True}, gain=0.0, outcome="COMPLETED")
    ]
    proposals = await propose(notebook, brief(seen, wave="wave 2", slots=12))
    assert proposals[0].changes == {"RATE_0": 7.5e-3, "SIZE_1": 4}
    assert proposals[0].expected_gain == pytest.approx(0.13)
    assert proposals[0].hypothesis == (
        "RATE_0 0.003→0.0075 and SIZE_1 8→4 lower val_bpb: RATE_0 +0.08 ± 0.01, SIZE_1 +0.05 ± 0.01"
    )
    assert proposals[0].citations == ("s-wave 1",)
    assert any(p.changes.get("RATE_0", 0) > 7.5e-3 for p in proposals)
    assert len(proposals) == 12


async def test_a_screening_that_shows_nothing_is_followed_by_draws_from_everywhere_once(notebook: Notebook) -> None:
    notebook.append(insight("s", "wave 1", [effect(name, 7.5e-3, 0.001, p=0.6) for name in ("RATE_0", "RATE_1")]))
    screened = Observation(
        experiment="s-e001", wave="wave 1", knobs={**START, "TIED": True}, gain=0.0, outcome="COMPLETED"
    )
    drawn = await propose(notebook, brief([screened], wave="wave 2"))
    assert len(drawn) == 4
    assert all("all over the ranges" in p.hypothesis and len(p.changes) > len(RANGES) / 2 for p in drawn)
    seen = [
        Observation(experiment=f"s-e{i}", wave="wave 2", knobs={**START, **p.changes}, gain=0.0, outcome="COMPLETED")
        for i, p in enumerate(drawn, start=2)
    ]
    later = await propose(notebook, brief([screened, *seen], wave="wave 3"))
    assert not any("all over the ranges" in p.hypothesis for p in later)


async def test_a_search_is_thought_of_in_small_batches_unless_more_run_at_once(notebook: Notebook) -> None:
    seen = [Observation(experiment="s-e001", wave=None, knobs={**START, "TIED": True}, gain=0.1, outcome="COMPLETED")]
    assert len(await propose(notebook, brief(seen, slots=1))) == 4
    assert len(await propose(notebook, brief(seen, slots=7))) == 7
    assert len(await propose(notebook, brief(seen, slots=16))) == 12


def test_a_factor_that_hurt_is_tried_the_other_way() -> None:
    ideas = list(followed(Space(START, RANGES, [], []), [effect("RATE_0", 7.5e-3, -0.08)]))
    assert [idea.config["RATE_0"] for idea in ideas] == [pytest.approx(1.2e-3)]


def test_what_lies_nearest_to_a_failure_is_doomed() -> None:
    failed = Seen(name="e1", config={**START, "SIZE_0": 64}, gain=None, infeasible=True)
    space = Space(START, RANGES, [failed], [])
    assert space.doomed({**START, "SIZE_0": 56})
    assert not space.doomed({**START, "SIZE_0": 12})


async def test_the_direction_of_the_metric_is_respected_in_words(notebook: Notebook) -> None:
    asked = replace(brief([]), task=replace(find_task("tinytext"), direction=Direction.MAXIMIZE, metric="accuracy"))
    assert all(" raise" in proposal.hypothesis for proposal in await propose(notebook, asked))


async def test_earlier_sessions_say_which_way_to_begin(notebook: Notebook) -> None:
    notebook.append(insight("before", "wave 1", [effect("RATE_0", 1.2e-3, 0.08), effect("RATE_1", 7.5e-3, 0.02)]))
    for seed in range(4):
        moved = {n: v for p in await propose(notebook, brief([], seed=seed)) for n, v in p.changes.items()}
        assert moved["RATE_0"] < START["RATE_0"]
        assert moved["RATE_1"] > START["RATE_1"]


async def test_a_thousand_observations_are_taken_in(notebook: Notebook) -> None:
    draw = Random(0)
    truth, _ = surface(0)
    configs = [{n: from_unit(draw.random(), r, START[n]) for n, r in RANGES.items()} for _ in range(1000)]
    seen = [
        Observation(experiment=f"e{i}", wave=None, knobs=c, gain=truth(c) if i % 4 else None, outcome="CRASHED")
        for i, c in enumerate(configs)
    ]
    proposals = await propose(notebook, brief(seen, slots=12))
    assert len(proposals) == 12
    assert all(read_knobs(p.source) == {**START, **p.changes} for p in proposals)


@pytest.mark.parametrize("seed", [0, 3])
async def test_sixty_trials_find_most_of_the_gain(notebook: Notebook, seed: int) -> None:
    assert await Lab(notebook, seed).run(60) >= 0.8
    assert Lab(notebook, seed).random(60) < 0.8


@pytest.mark.slow
async def test_nine_of_ten_surfaces_are_climbed(notebook: Notebook) -> None:
    shares = [await Lab(notebook, seed).run(60) for seed in range(10)]
    assert sum(share >= 0.8 for share in shares) >= 9, shares
    assert sum(Lab(notebook, seed).random(60) >= 0.8 for seed in range(10)) <= 2


async def test_on_a_plateau_every_other_proposal_comes_from_elsewhere(tmp_path: Path) -> None:
    with Notebook.open(tmp_path / "notebook", embedder=WordEmbedder()) as notebook:
        draw = Random(5)
        seen = [
            Observation(
                experiment=f"e{number}",
                wave=None,
                knobs={**START, "RATE_0": from_unit(0.5 + 0.05 * draw.random(), RANGES["RATE_0"], START["RATE_0"])},
                gain=draw.random(),
                outcome="COMPLETED",
            )
            for number in range(30)
        ]
        usual = await OptimizerProposer(notebook).propose(replace(brief(seen), wave=None))
        stuck = await OptimizerProposer(notebook).propose(replace(brief(seen), wave=None, barren=60))
        bold = await OptimizerProposer(notebook).propose(replace(brief(seen), barren=60, bold=True))

    def from_elsewhere(proposals: list[Proposal]) -> int:
        words = ("nothing near it was ever tried", "thrown anew", "as two others differ")
        return sum(any(word in proposal.hypothesis for word in words) for proposal in proposals)

    assert from_elsewhere(usual) == 0
    assert from_elsewhere(stuck) == len(stuck) // 2
    assert {proposal.design for proposal in bold} == {"plackett-burman"}
    levels = {
        abs(to_unit(p.changes["RATE_1"], RANGES["RATE_1"]) - to_unit(START["RATE_1"], RANGES["RATE_1"]))
        for p in bold
        if "RATE_1" in p.changes
    }
    assert min(levels) > 0.25, "steps are double"
