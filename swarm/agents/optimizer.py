"""The proposer that needs no model: designed waves first, then small steps from the best, and Optuna's TPE.

What it proposes, in this order:

1. designed waves around the incumbent: a Plackett-Burman screening of up to eleven constants; where it shows
   anything, its mirror image; then combinations of what matters, more of them while something interacts; then the
   strongest constant on a ladder of six values. Where it shows nothing, a few draws from all over the ranges: the
   start may be far from anything good;
2. what the analyst's insights call for: the significant effects together, then further along
   (``swarm.research.search.followed``);
3. a portfolio: steps from the best configurations, chosen by a Gaussian process (``swarm.research.search.local``);
   plain steps of one constant, which ask no model; and TPE's proposals (Bergstra et al., NeurIPS 2011; multivariate,
   constant liar), which keep the search from settling in the first basin;
4. on a plateau every other proposal is one from elsewhere (``swarm.research.plateau``), and its first wave is a
   design of the constants moved least, in double steps.

Failed configurations never become numbers: TPE is told FAIL, and a second process learns where trials fail. The study
is rebuilt from the brief each time: state is replay.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from notebook_store.entry import Entry, Kind
from notebook_store.notebook import Notebook
from swarm.agents.graph import run_role
from swarm.agents.roles import PROPOSER
from swarm.agents.sampler import Sampler
from swarm.ports import Brief, Observation
from swarm.research.effects import Effect
from swarm.research.experiment import Knob, Proposal
from swarm.research.knobs import set_knobs
from swarm.research.plateau import elsewhere
from swarm.research.search import (
    SIGNIFICANT,
    crossed,
    followed,
    local,
    mirrored,
    plain,
    rungs,
    scattered,
    screening,
)
from swarm.research.space import in_range, is_ordered
from swarm.research.tried import Idea, Seen, Space
from swarm.research.waves import DESIGNED, LADDER, Contrast
from trainer.contract import Direction, Outcome, Range

_MOST_FACTORS = 11  # of a screening wave: 12 runs
_MOST_WAVES = 5  # designed ones around one incumbent, before what is known is only followed
_PORTFOLIO, _PLAIN_TURNS, _TPE_TURN = 10, (2, 7), 9  # of ten proposals, which are plain steps and one of TPE's
_RECALLED = 40  # insights of the session, the newest: what a proposal costs is bounded
_FOLLOWED = 8  # of them, those whose effects still call for something: of older ones it was proposed when they were new
_SCATTERED = 4  # draws over the ranges after a screening that shows nothing
_BATCH = 4  # experiments of a search thought of at once, or as many as run at once: later ones know more
_BOLD = 2  # steps of a constant in a design that looks further away
_TRIES = 400  # candidates looked at for one batch before it is left short
_INFEASIBLE = {Outcome.CRASHED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT, Outcome.DIVERGED}


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """What the notebook told the proposer."""

    insights: Sequence[Entry]  # of this session, newest first
    earlier: Sequence[Entry]  # insights of earlier sessions on the task, newest first
    claims: Sequence[Entry]  # what papers say of the constants


class OptimizerProposer:
    """A Proposer (see ports): deterministic given the brief and the notebook."""

    def __init__(self, notebook: Notebook, *, wave_size: int = 12, name: str = "proposer") -> None:
        self.name = name
        self._notebook = notebook
        self.wave_size = wave_size

    async def propose(self, brief: Brief) -> list[Proposal]:
        """A whole design when nothing is known yet, else at most ``brief.wanted`` proposals."""
        return await run_role(PROPOSER, _Work(self, brief))

    def recall(self, brief: Brief) -> Recalled:
        """Insights and claims on the constants in play. Blocking."""
        kinds, task = [Kind.INSIGHT], brief.task.name
        insights = self._notebook.entries(kinds=kinds, task=task, session=brief.session, limit=_RECALLED)
        latest = self._notebook.entries(kinds=kinds, task=task, limit=2 * _RECALLED)
        return Recalled(
            insights=insights,
            earlier=[entry for entry in latest if entry.session != brief.session],
            claims=self._notebook.entries(kinds=[Kind.CLAIM]),
        )

    def proposals(self, brief: Brief, recalled: Recalled, ideas: Sequence[Idea]) -> list[Proposal]:
        """The ideas as edits of the incumbent's file, each with its hypothesis and citations."""
        return [
            Proposal(
                author=self.name,
                hypothesis=_hypothesis(brief, idea),
                parent=brief.parent,
                source=set_knobs(brief.source, changes),
                changes=changes,
                expected_gain=idea.expected,
                citations=_citations(recalled, idea, changes),
                wave=brief.wave,
                design=idea.design,
            )
            for idea in ideas
            if (changes := {n: v for n, v in idea.config.items() if v != brief.knobs[n]})
        ]


def thought_of(brief: Brief, recalled: Recalled, wave_size: int) -> list[Idea]:
    """The configurations worth the next trials. CPU-bound: call in a thread."""
    seen = [_seen(observation) for observation in brief.observations]
    ranges = {name: brief.ranges[name] for name in brief.ranges if name in brief.knobs}
    space = Space(brief.knobs, ranges, seen, brief.taken)
    if not ranges:
        return []
    if brief.wave is None:
        return _next(brief, space, recalled, brief.wanted)
    wanted = min(brief.wanted, wave_size)
    fresh = min(wanted, max(_BATCH, brief.slots))
    return _designed(brief, space, recalled, wanted) or _next(brief, space, recalled, fresh)


def _designed(brief: Brief, space: Space, recalled: Recalled, size: int) -> list[Idea]:
    """The next designed wave, while there is one to make: a screening of all constants, its mirror image once it
    shows anything, and every combination of what then matters; those that interact come first. A screening that shows
    nothing is followed by draws from all over the ranges.
    """
    past = [entry for entry in reversed(recalled.insights) if entry.data.get("design") in (*DESIGNED, LADDER)]
    if brief.bold:
        ideas = screening(space, least_moved(space)[: min(_MOST_FACTORS, size - 1)], size, brief.seed, {}, rungs=_BOLD)
    elif not past:
        if brief.observations or brief.taken:
            return []
        factors = promising(space.ranges, recalled)[: min(_MOST_FACTORS, size - 1)]
        ideas = screening(space, factors, size, brief.seed, _directions(recalled.earlier))
    elif past[-1].data.get("baseline") != dict(brief.knobs):
        return []
    elif not _shows_anything(past[0]):
        searched = {o.wave for o in brief.observations} - {None, past[0].data["wave"]}
        ideas = [] if searched else scattered(space, min(_SCATTERED, size), brief.seed)
    elif len(past) == 1 and past[0].data["design"] == "plackett-burman":
        ideas = mirrored(space, [o.knobs for o in brief.observations if o.wave == past[0].data["wave"]])
    else:
        ideas = _built_on(space, past, size)
    return [idea for idea in ideas if space.take(idea)]


def _built_on(space: Space, past: Sequence[Entry], size: int) -> list[Idea]:
    """The wave after a screening and its mirror image: combinations of what matters, more of them while something
    interacts, and last the strongest of it on a ladder.
    """
    designs = [entry.data["design"] for entry in past]
    if LADDER in designs:
        return []
    found, interacting = _implicated(past)
    if len(found) > 1 and (len(past) == 2 or (interacting and len(past) < _MOST_WAVES)):
        contrasts = {
            effect.factor: Contrast(factor=effect.factor, low=effect.low, high=effect.high)
            for entry in reversed(past)
            for effect in read_effects(entry)
            if effect.low is not None and effect.high is not None and effect.factor in space.ranges
        }
        return crossed(space, found, contrasts, size, turn=max(0, len(past) - 2))
    ordered = [name for name in found if name in space.ranges and is_ordered(space.ranges[name])]
    return rungs(space, ordered[0]) if ordered else []


def _next(brief: Brief, space: Space, recalled: Recalled, wanted: int) -> list[Idea]:
    """What the latest findings call for, then steps from the best: seven of ten by the model, two by none, and
    one TPE's, so that neither a model's blindness nor a basin is final.
    """
    found: list[Idea] = []
    for insight in recalled.insights[:_FOLLOWED]:
        found += [idea for idea in followed(space, read_effects(insight)) if space.take(idea)]
    found = found[:wanted]
    modelled, plainly = local(space, brief.seed), plain(space, brief.seed)
    sampler = Sampler(space, brief.seed)
    further = elsewhere(space, brief.seed)
    for attempt in range(_TRIES):
        if len(found) >= wanted:
            break
        if brief.barren and len(found) % 2 and attempt < _TRIES // 4:
            if space.take(idea := next(further)):
                found.append(idea)
            continue
        turn = (len(found) + space.turn) % _PORTFOLIO
        if turn == _TPE_TURN and attempt < _TRIES // 4:
            idea = sampler.ask()
        elif turn in _PLAIN_TURNS and attempt < _TRIES // 4:
            idea = next(plainly)
        else:
            idea = next(modelled)
        if space.take(idea):
            found.append(idea)
    return found


class _Work:
    """One run of the proposer through the role graph."""

    def __init__(self, proposer: OptimizerProposer, brief: Brief) -> None:
        self.proposer, self.brief = proposer, brief

    async def recall(self) -> Recalled:
        return await asyncio.to_thread(self.proposer.recall, self.brief)

    async def think(self, recalled: Recalled, _: str | None) -> list[Proposal]:
        ideas = await asyncio.to_thread(thought_of, self.brief, recalled, self.proposer.wave_size)
        return self.proposer.proposals(self.brief, recalled, ideas)

    async def check(self, reply: list[Proposal]) -> str | None:
        for proposal in reply:
            for name, value in proposal.changes.items():
                if not in_range(value, self.brief.ranges[name]):
                    return f"{name} = {value!r} is outside its range"
        return None

    async def write(self, reply: list[Proposal]) -> list[Proposal]:
        return reply  # a hypothesis becomes a page when its experiment has an id and has won its claim


def _seen(observation: Observation) -> Seen:
    gain = observation.gain
    return Seen(observation.experiment, observation.knobs, gain, gain is None and observation.outcome in _INFEASIBLE)


def read_effects(insight: Entry) -> list[Effect]:
    """The effects an analyst wrote into ``data["effects"]``; what is not in their form is left out."""
    rows = insight.data.get("effects")
    return [effect for row in rows if (effect := _effect(row))] if isinstance(rows, list) else []


def _effect(row: object) -> Effect | None:
    if not isinstance(row, dict) or not isinstance(row.get("factor"), str):
        return None
    numbers = {key: row.get(key) for key in ("effect", "se", "p")}
    if not isinstance(numbers["effect"], int | float):
        return None
    return Effect(
        factor=row["factor"],
        low=row.get("low"),
        high=row.get("high"),
        effect=float(numbers["effect"]),
        se=numbers["se"],
        ci=None,
        p=numbers["p"],
    )


def _shows_anything(insight: Entry) -> bool:
    return any(effect.p is not None and effect.p < SIGNIFICANT for effect in read_effects(insight))


def _implicated(past: Sequence[Entry]) -> tuple[list[str], bool]:
    """The factors that the designed waves held for real after the last of them, and after the one before it: a term may
    pass from sight for a wave. And whether any of them interact.
    """
    told = [told for entry in reversed(past[-2:]) if isinstance(told := entry.data.get("response"), dict)]
    names = [name for one in told if isinstance(found := one.get("implicated"), list) for name in found]
    return [name for name in dict.fromkeys(names) if isinstance(name, str)], any(
        one.get("interactions") for one in told
    )


def promising(ranges: Mapping[str, Range], recalled: Recalled) -> list[str]:
    """The constants, most promising first: by the effects found before, the papers that speak of them, the file."""
    worth: dict[str, float] = {}
    for insight in recalled.earlier:
        for effect in read_effects(insight):
            worth[effect.factor] = max(worth.get(effect.factor, 0.0), abs(effect.effect))
    claims = [factor for claim in recalled.claims for factor in claim.factors]
    return sorted(ranges, key=lambda name: (-worth.get(name, 0.0), -min(claims.count(name), 1)))


def least_moved(space: Space) -> list[str]:
    """The constants, those that the fewest configurations have moved first."""
    moves = {name: sum(s.config.get(name) != space.incumbent[name] for s in space.seen) for name in space.ranges}
    return sorted(moves, key=lambda name: moves[name])


def _directions(earlier: Sequence[Entry]) -> dict[str, int]:
    """Which way each ordered factor won in earlier sessions: the newest finding counts."""
    found: dict[str, int] = {}
    for insight in reversed(earlier):
        for effect in read_effects(insight):
            low, high = effect.low, effect.high
            if isinstance(low, int | float) and isinstance(high, int | float) and effect.p is not None:
                found[effect.factor] = 1 if (high > low) == (effect.effect > 0) else -1
    return found


def _hypothesis(brief: Brief, idea: Idea) -> str:
    changed = [(n, brief.knobs[n], v) for n, v in idea.config.items() if v != brief.knobs[n]]
    said = [f"{name} {_short(old)}→{_short(new)}" for name, old, new in changed]
    what = said[0] if len(said) == 1 else f"{', '.join(said[:-1])} and {said[-1]}"
    verb = "lower" if brief.task.direction is Direction.MINIMIZE else "raise"
    return f"{what} {verb}{'s' if len(said) == 1 else ''} {brief.task.metric}: {idea.why}"


def _short(value: Knob) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _citations(recalled: Recalled, idea: Idea, changes: Mapping[str, Knob]) -> tuple[str, ...]:
    """Ids of the findings that led here and of the claims on what it changes, at most three a kind."""
    insights = [entry.id for entry in recalled.insights if set(idea.factors) & set(entry.factors)]
    claims = [entry.id for entry in recalled.claims if set(changes) & set(entry.factors)]
    return tuple(dict.fromkeys([*insights[:3], *claims[:3]]))
