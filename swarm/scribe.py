"""Writes the notebook's pages about experiments: what was proposed, how it was reviewed, what came out of it.

Every id follows from the experiment's, so a step taken twice writes one page.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from notebook_store.answers import Near
from notebook_store.entry import Citation, Entry, Kind, Link, Relation
from notebook_store.errors import EntryConflict, UnknownEntry
from notebook_store.notebook import Notebook
from swarm.agents.recall import one_near, tried_near
from swarm.errors import SwarmError
from swarm.ports import Clock
from swarm.research.experiment import Experiment, Json, Review, Status, Trial
from swarm.research.promotion import Noise, t_quantile
from trainer.contract import Budget, Task

_BORNE_OUT = {
    Status.CONFIRMED: "the hypothesis was borne out",
    Status.REFUTED: "the hypothesis was refuted on the validation tier",
    Status.PRUNED: "the hypothesis was not borne out at screening",
}
PROGRAM = "program.md"  # author of what the task's people ask there
KEPT = {Status.CONFIRMED: "keep", Status.BASELINE: "keep", Status.CRASHED: "crash"}


class Scribe:
    """Appends entries of one session. Nothing here decides anything."""

    def __init__(
        self,
        notebook: Notebook,
        *,
        session: str,
        task: Task,
        budgets: Mapping[str, Budget],
        noise: Callable[[str, str], Noise | None],
        clock: Clock,
    ) -> None:
        """``budgets``: what one trial may use, by tier; ``noise``: the floor of a tier on an accelerator type."""
        self.notebook = notebook
        self.session = session
        self.task = task
        self._budgets = budgets
        self._noise = noise
        self._clock = clock
        self._program_text = ""  # as it was last seen

    def page(
        self,
        entry_id: str,
        kind: Kind,
        title: str,
        body: str,
        *,
        author: str,
        experiment: Experiment | None = None,
        links: Sequence[Link] = (),
        citations: Sequence[Citation] = (),
        data: Json | None = None,
    ) -> Entry:
        """An entry of this session, made now."""
        return Entry(
            id=entry_id,
            kind=kind,
            title=title,
            body=body,
            author=author,
            session=self.session,
            experiment=experiment.id if experiment else None,
            task=self.task.name,
            created_at=self._clock.now(),
            factors=tuple(sorted(experiment.changes)) if experiment else (),
            links=tuple(links),
            citations=tuple(citations),
            data=dict(data or {}),
        )

    async def write(self, *pages: Entry) -> None:
        """Append pages, all at once, unless they are there."""
        await asyncio.to_thread(self._append_once, pages)

    def _append_once(self, pages: Sequence[Entry]) -> None:
        with suppress(EntryConflict):  # they were written before, at another time of day
            self.notebook.extend(pages)

    async def hypothesis(self, experiment: Experiment, diff: str) -> None:
        """The page of a proposal, with its edit."""
        lines = [experiment.hypothesis, ""]
        if experiment.expected_gain is not None:
            lines.append(f"Expected gain: {experiment.expected_gain:+.4f} {self.task.metric}.")
        if experiment.wave:
            lines.append(f"Part of {experiment.wave}.")
        lines += ["", fenced(diff, "diff")]
        entry = self.page(
            f"{experiment.id}-hypothesis",
            Kind.HYPOTHESIS,
            experiment.hypothesis.split("\n")[0][:160],
            "\n".join(lines),
            author=experiment.author,
            experiment=experiment,
            links=[Link(kind=Relation.CITES, target=cited) for cited in experiment.citations],
            data={"changes": dict(experiment.changes), "parent": experiment.parent},
        )
        await self.write(entry)

    async def review(self, experiment: Experiment, review: Review, *, author: str, page: str = "review") -> None:
        """The page of a review, and what came of what was near; ``page`` tells a person's from the reviewer's."""
        tried = await asyncio.to_thread(
            tried_near, self.notebook, experiment.id, experiment.hypothesis, experiment.changes
        )
        near = "".join(f"\n- near: {one_near(one)}" for one in tried)
        sampled = (
            "\n- it runs all the same: a sample of what is turned down measures the reviewer" if review.sampled else ""
        )
        entry = self.page(
            f"{experiment.id}-{page}",
            Kind.REVIEW,
            f"{review.verdict}: {experiment.hypothesis.splitlines()[0][:120]}",
            "\n".join(f"- {reason}" for reason in review.reasons) + sampled + near,
            author=author,
            experiment=experiment,
            links=[Link(kind=Relation.DERIVED_FROM, target=f"{experiment.id}-hypothesis")],
            data={
                "verdict": review.verdict,
                "sampled": review.sampled,
                "near": [_near_facts(one) for one in tried],
            },
        )
        await self.write(entry)

    def _borne_out(self, experiment: Experiment) -> list[Entry]:
        """What the reviewer says of the hypothesis once the experiment is over: the numbers decide, no opinion."""
        word = _BORNE_OUT.get(experiment.status)
        if word is None:
            return []
        expected, found = experiment.expected_gain, experiment.verdict.get("gain")
        numbers = "" if found is None else f" Measured gain {found:+.4f} {self.task.metric}"
        if numbers and expected is not None:
            numbers += f", expected {expected:+.4f}"
        return [
            self.page(
                f"{experiment.id}-afterthought-{experiment.moves}",
                Kind.REVIEW,
                f"{word}: {experiment.hypothesis.splitlines()[0][:120]}",
                f"{word}.{numbers}",
                author="reviewer",
                experiment=experiment,
                links=[Link(kind=_bears(experiment.status), target=f"{experiment.id}-hypothesis")],
                data={"borne_out": word, "expected_gain": expected, "gain": found},
            )
        ]

    async def result(self, experiment: Experiment) -> None:
        """The page of what came out, once the experiment is over."""
        await self.write(await self._result(experiment))

    async def _result(self, experiment: Experiment) -> Entry:
        trials = [t for t in experiment.trials if t.candidate == experiment.candidate]
        tiers = [tier for tier in ("validate", "screen") if any(t.tier == tier and t.completed for t in trials)]
        every = [t for t in trials if tiers and t.tier == tiers[0] and t.value is not None]
        shown = [t for t in every if t.accelerator == every[0].accelerator]  # like with like
        score = sum(t.value or 0.0 for t in shown) / len(shown) if shown else None
        ci95 = None if score is None else self._interval(score, shown)
        peak = max((t.peak_memory_mb or 0.0 for t in trials), default=0.0)
        what = f"{self.task.metric} {score:.4f}" if score is not None else "no score"
        if ci95 is not None:
            what += f" [{ci95[0]:.4f}, {ci95[1]:.4f}]"
        where = (
            f", tier {tiers[0]}, {self._budget(tiers[0])}, n={len(shown)} on {shown[0].accelerator}" if shown else ""
        )
        lines = [
            f"**{experiment.status}** — {what}{where}.",
            "",
            *(f"- {reason}" for reason in experiment.reasons),
            "",
            "| trial | tier | accelerator | seed | outcome | value | charged s |",
            "|---|---|---|---|---|---|---|",
            *(_row(trial) for trial in experiment.trials),
        ]
        return self.page(
            f"{experiment.id}-result-{experiment.moves}",
            Kind.RESULT,
            f"{experiment.status}: {experiment.hypothesis.splitlines()[0][:120]} ({what})",
            "\n".join(lines),
            author="referee",
            experiment=experiment,
            links=[
                Link(kind=_bears(experiment.status), target=f"{experiment.id}-hypothesis"),
                *(Link(kind=Relation.CITES, target=cited) for cited in experiment.citations),
            ],
            citations=await asyncio.to_thread(self._sources, experiment.citations),
            data={
                "commit": experiment.candidate,
                self.task.metric: score,
                "score": score,
                "metric": self.task.metric,
                "trust": self.task.trust,
                "tier": tiers[0] if tiers else None,
                "budget": self._budget(tiers[0]) if tiers else None,
                "n": len(shown),
                "ci95": ci95,
                "hardware": sorted({t.accelerator for t in shown or trials}),
                "outcome": experiment.status,
                "status": KEPT.get(experiment.status, "discard"),
                "memory_gb": round(peak / 1024, 3),
                "verdict": dict(experiment.verdict),
                "changes": dict(experiment.changes),
            },
        )

    def _interval(self, score: float, trials: Sequence[Trial]) -> list[float] | None:
        """The score's 95% interval, from the group's pooled noise by Student's t; None until that is measured."""
        noise = self._noise(trials[0].tier, trials[0].accelerator)
        if noise is None:
            return None
        half = t_quantile(0.975, noise.df) * noise.sd / len(trials) ** 0.5
        return [score - half, score + half]

    def _budget(self, tier: str) -> str:
        budget = self._budgets[tier]
        return f"{budget.amount:g} {budget.kind}"

    def _sources(self, cited: Sequence[str]) -> list[Citation]:
        """What the cited entries say of papers. Blocking."""
        sources: dict[Citation, None] = {}
        for name in cited:
            try:
                sources |= dict.fromkeys(self.notebook.get(name).citations)
            except UnknownEntry:
                continue  # the link to it stays
        return list(sources)

    async def ending(self, experiment: Experiment) -> None:
        """The pages of an experiment that is over: what came out, whether it was as thought, by which rule decided."""
        pages = [await self._result(experiment), *self._borne_out(experiment)]
        if experiment.status in (Status.CONFIRMED, Status.REFUTED):
            pages.append(self._decision(experiment))
        await self.write(*pages)

    def _decision(self, experiment: Experiment) -> Entry:
        said = experiment.verdict
        low, high = said["ci95"]
        gain = f"{said['gain']:+.4f} {self.task.metric}"
        return self.page(
            f"{experiment.id}-decision",
            Kind.DECISION,
            f"{experiment.status}: {gain} [{low:+.4f}, {high:+.4f}] — {experiment.hypothesis[:100]}",
            f"{experiment.hypothesis}\n\nMeasured gain {gain} over {said['against']} (95% interval {low:+.4f} to "
            f"{high:+.4f}, {said['n']} paired seeds on one accelerator type). Rule: Student's t at level "
            f"{said['alpha']:.4g}, this session's validation number {said['test']} under LORD++, shared among the "
            f"looks; noise sd {said['noise_sd']:.4f} with {said['noise_df']} degrees of freedom.",
            author="referee",
            experiment=experiment,
            links=[Link(kind=_bears(experiment.status), target=f"{experiment.id}-hypothesis")],
            data={"gain": said["gain"], "ci95": [low, high], "n": said["n"], "outcome": experiment.status},
        )

    async def program(self) -> None:
        """The page of the task's program.md, where its text is new: what people ask, in every agent's reach.

        Raises SwarmError when the file cannot be read any more.
        """
        await asyncio.to_thread(self._program)

    def _program(self) -> None:
        path = self.task.folder / "program.md"
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise SwarmError(f"{path} cannot be read: {error}; write it as UTF-8 text") from error
        if not text.strip() or text == self._program_text:
            return
        self._program_text = text
        earlier = self.notebook.entries(kinds=[Kind.NOTE], author=PROGRAM, task=self.task.name, limit=1)
        before = str(earlier[0].data.get("text")) if earlier else ""
        if text == before:
            return
        digest = hashlib.sha256(f"{earlier[0].id if earlier else ''}\n{text}".encode()).hexdigest()
        added = set(text.splitlines()) - set(before.splitlines()) if before else set()
        first = text.lstrip("# \n").splitlines()[0][:120]
        page = Entry(
            id=f"program-{self.task.name}-{digest[:10]}",
            kind=Kind.NOTE,
            title=f"{'an edit of ' if before else ''}program.md: {first}",
            body=text,
            author=PROGRAM,
            session=self.session,
            task=self.task.name,
            created_at=self._clock.now(),
            links=(Link(kind=Relation.SUPERSEDES, target=earlier[0].id),) if before else (),
            data={"text": text, "added": [line for line in text.splitlines() if line in added]},
        )
        self._append_once([page])

    async def plateau(self, number: int, incumbent: Experiment, barren: int) -> None:
        """The page that says that nothing was confirmed for long, and what is done about it."""
        entry = self.page(
            f"{self.session}-plateau-{number}",
            Kind.NOTE,
            f"plateau: no gain was confirmed in {barren} experiments, {incumbent.id} is still the best",
            "The search is widened: the reader looks for what was not yet claimed, the next wave is a design of the "
            "constants that were moved least, in double steps, and every other proposal comes from elsewhere than "
            "where the search has settled, until a gain is confirmed.",
            author="referee",
            experiment=incumbent,
            data={"experiments": barren},
        )
        await self.write(entry)


def fenced(text: str, language: str = "") -> str:
    """Text as a Markdown code block that nothing inside can end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _row(trial: Trial) -> str:
    value = "" if trial.value is None else f"{trial.value:.4f}"
    seconds = "" if trial.train_seconds is None else f"{trial.train_seconds:.1f}"
    outcome = trial.outcome or "running"
    if trial.message:
        outcome += f" ({trial.message[:80].replace('|', '/')})"
    return f"| {trial.id} | {trial.tier} | {trial.accelerator} | {trial.seed} | {outcome} | {value} | {seconds} |"


def _near_facts(one: Near) -> Json:
    return {
        "hypothesis": one.tried.hypothesis.id,
        "experiment": one.tried.hypothesis.experiment,
        "distance": one.distance,
        "similarity": one.similarity,
        "outcome": one.tried.outcome,
    }


def _bears(status: Status) -> Relation:
    """Only a validation is evidence for or against; screening is a filter."""
    bearing = {Status.CONFIRMED: Relation.SUPPORTS, Status.REFUTED: Relation.REFUTES}
    return bearing.get(status, Relation.DERIVED_FROM)
