"""The swarm's default strategy as a peer: the proposer's and the analyst's own logic, asked and told in memory."""

from collections.abc import Mapping

from notebook_store.entry import Entry, Kind
from swarm.agents.analyst import question
from swarm.agents.optimizer import Recalled, thought_of
from swarm.bench.strategies import Config, Ticket, Whole
from swarm.ports import Brief, Observation, WaveReport
from swarm.research.response import finding
from swarm.research.waves import DESIGNED, LADDER
from trainer.contract import Outcome, Range, Task

WAVE = 12  # experiments of a wave, as in a session


class Swarm(Whole):
    """Makes waves as a session would: a new one once the last is understood, single proposals in between.

    It has no notebook of papers and no noise floor but the residuals': it is told no more than the peers are.
    """

    def __init__(self, ranges: Mapping[str, Range], start: Config, seed: int, *, task: Task) -> None:
        self._ranges, self._start, self._seed, self._task = ranges, dict(start), seed, task
        self._queue: list[tuple[Config, str | None]] = [(self._start, None)]
        self._out: dict[int, tuple[Config, str | None]] = {}  # asked for and not yet told, by number
        self._asked = 0
        self._base: float | None = None  # what the start scored
        self._seen: list[Observation] = []
        self._insights: list[Entry] = []  # newest first
        self._wave: tuple[str, str] | None = None  # the one under way: name and design
        self._waves = 0

    def ask(self) -> Ticket:
        if not self._queue:
            self._think()
        config, wave = self._queue.pop(0)
        number, self._asked = self._asked, self._asked + 1
        self._out[number] = (config, wave)
        return Ticket(config=config, handle=number)

    def tell(self, ticket: Ticket, gain: float | None) -> None:
        config, wave = self._out.pop(ticket.handle)
        if ticket.handle == 0:
            self._base = gain
            return
        known = None if gain is None else gain - (self._base or 0.0)
        outcome = Outcome.CRASHED if gain is None else Outcome.COMPLETED
        self._seen.append(
            Observation(experiment=f"e{ticket.handle:03d}", wave=wave, knobs=config, gain=known, outcome=outcome)
        )
        if self._wave is not None and not any(w == self._wave[0] for _, w in (*self._queue, *self._out.values())):
            self._analyse()

    def _think(self) -> None:
        unread = self._wave is not None or self._base is None
        name = None if unread else f"wave {self._waves + 1}"
        brief = Brief(
            session="bench",
            task=self._task,
            parent="",
            source="",
            knobs=self._start,
            ranges=self._ranges,
            observations=self._seen,
            taken=[config for config, _ in self._out.values()],
            noise=None,
            wanted=1 if unread else WAVE,
            wave=name,
            seed=self._seed * 1_000_000 + self._asked,
        )
        ideas = thought_of(brief, Recalled(insights=self._insights, earlier=[], claims=[]), WAVE)
        if name is not None and ideas:
            self._waves += 1
            self._wave = (name, ideas[0].design)
        self._queue = [(idea.config, name) for idea in ideas] or [(self._start, None)]

    def _analyse(self) -> None:
        assert self._wave is not None
        (name, design), self._wave = self._wave, None
        if design not in (*DESIGNED, LADDER):
            return  # a search is not waited for: its finding is for people
        report = WaveReport(
            session="bench",
            task=self._task,
            wave=name,
            design=design,
            baseline=self._start,
            observations=self._seen,
            noise=None,
        )
        earlier = [str(entry.data["wave"]) for entry in self._insights if entry.data["design"] in DESIGNED]
        told = {**finding(question(report, earlier)), "wave": name, "design": design, "baseline": self._start}
        entry = Entry(
            id=name,
            kind=Kind.INSIGHT,
            title=name,
            body="",
            author="analyst",
            session="bench",
            task=self._task.name,
            created_at=0.0,
            data=told,
        )
        self._insights.insert(0, entry)
