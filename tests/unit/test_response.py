"""A planted response surface is recovered from a few waves: which effects and interactions are real, and no others."""

import itertools
from collections.abc import Mapping
from random import Random

import pytest

from notebook_store.entry import Entry, Kind
from swarm.agents.analyst import question
from swarm.agents.optimizer import Recalled, thought_of
from swarm.ports import Brief, Observation, WaveReport
from swarm.research.experiment import Knob
from swarm.research.response import Response, finding, response
from swarm.research.waves import DESIGNED, factorial, foldover, plackett_burman
from trainer.contract import Range, find_task

FACTORS = tuple("ABCDEFGHIJK")
NOISE = 0.01
TASK = find_task("tinytext")
Row = dict[str, float]


def planted(seed: int) -> Mapping[tuple[str, ...], float]:
    """Three main effects and two interactions, two to four noise sd each; one interacts with a factor that is none."""
    draw = Random(seed)
    a, b, c, d = draw.sample(FACTORS, 4)
    return {term: draw.choice((-1, 1)) * draw.uniform(2, 4) * NOISE for term in ((a,), (b,), (c,), (a, b), (c, d))}


def gain(row: Row, truth: Mapping[tuple[str, ...], float], draw: Random) -> float:
    total = draw.gauss(0, NOISE)
    for term, effect in truth.items():
        sign = effect / 2
        for factor in term:
            sign *= row[factor]
        total += sign
    return total


def terms(model: Response) -> set[frozenset[str]]:
    return {frozenset((e.factor,)) for e in model.effects} | {frozenset((p.a, p.b)) for p in model.interactions}


class Surface:
    """Waves as the default proposer makes them, analysed as the analyst does, on a planted surface."""

    ranges: Mapping[str, Range] = {name: Range(choices=("lo", "hi")) for name in FACTORS}
    start: Mapping[str, Knob] = dict.fromkeys(FACTORS, "lo")

    def __init__(self, seed: int) -> None:
        self.truth, self._draw, self._seed = planted(seed), Random(seed + 1000), seed
        self.seen: list[Observation] = []
        self.insights: list[Entry] = []  # newest first

    def wave(self) -> str:
        """Make a wave and run and analyse it; its design."""
        name = f"wave {len(self.insights) + 1}"
        brief = Brief(session="s", task=TASK, parent="", source="", knobs=self.start, ranges=self.ranges, noise=NOISE,
                      observations=self.seen, wanted=13, wave=name, seed=self._seed)  # fmt: skip
        ideas = thought_of(brief, Recalled(insights=self.insights, earlier=[], claims=[]), 13)
        assert len(ideas) <= 13
        base = gain(dict.fromkeys(FACTORS, -1.0), self.truth, Random(0)) - Random(0).gauss(0, NOISE)
        for idea in ideas:
            row = {factor: 1.0 if value == "hi" else -1.0 for factor, value in idea.config.items()}
            found = gain(row, self.truth, self._draw) - base
            self.seen.append(Observation(experiment=f"e{len(self.seen)}", wave=name, knobs=idea.config, gain=found,
                                         outcome="COMPLETED"))  # fmt: skip
        report = WaveReport(session="s", task=TASK, wave=name, design=ideas[0].design, baseline=self.start,
                            observations=self.seen, noise=NOISE)  # fmt: skip
        told = finding(question(report, [str(entry.data["wave"]) for entry in self.insights]))
        data = {**told, "wave": name, "design": report.design, "baseline": dict(self.start)}
        self.insights.insert(0, Entry(id=name, kind=Kind.INSIGHT, title=name, body="", author="analyst", session="s",
                                      task=TASK.name, created_at=0.0, data=data))  # fmt: skip
        return report.design


def found_by(surface: Surface) -> set[frozenset[str]]:
    told = surface.insights[0].data["response"]
    assert isinstance(told, dict)
    return {frozenset((e["factor"],)) for e in told["effects"]} | {
        frozenset((p["a"], p["b"])) for p in told["interactions"]
    }


def recovered(seed: int) -> bool:
    surface = Surface(seed)
    designs = [surface.wave() for _ in range(5)]
    assert set(designs) <= set(DESIGNED)
    return found_by(surface) == {frozenset(term) for term in surface.truth}


def test_five_waves_recover_three_effects_and_two_interactions() -> None:
    assert sum(recovered(seed) for seed in range(10)) >= 9


def test_nothing_is_found_where_nothing_is() -> None:
    found = 0
    for seed in range(40):
        draw = Random(seed)
        rows = [dict(zip(FACTORS, row, strict=True)) for row in plackett_burman(11)]
        found += bool(terms(response(rows, [draw.gauss(0, NOISE) for _ in rows], NOISE)))
    assert found <= 5


def test_the_mirror_image_frees_main_effects_of_interactions() -> None:
    rows = [dict(zip("ABCDE", row, strict=True)) for row in plackett_burman(5)]
    rows += [dict(zip("ABCDE", row, strict=True)) for row in foldover(plackett_burman(5))]
    for a, b in itertools.combinations("ABCDE", 2):
        assert all(sum(row[a] * row[b] * row[factor] for row in rows) == 0 for factor in "ABCDE")


@pytest.mark.parametrize("noise", [NOISE, None])
def test_intervals_hold_what_was_planted(noise: float | None) -> None:
    draw = Random(1)
    rows = [dict(zip("ABC", row, strict=True)) for row in factorial(3) * 2]
    truth = {("A",): 0.1, ("A", "B"): 0.05}
    model = response(rows, [gain(row, truth, draw) for row in rows], noise)
    (effect,), (pair,) = model.effects, model.interactions
    assert effect.ci is not None
    assert effect.ci[0] < 0.1 < effect.ci[1]
    assert pair.ci is not None
    assert pair.ci[0] < 0.05 < pair.ci[1]
    assert model.implicated() == ["A", "B"]
