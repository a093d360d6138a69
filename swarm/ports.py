"""What the swarm needs of the outside, as Protocols. A port promises behaviour; a contract suite proves it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from swarm.research.experiment import Json, Knob, Proposal
from trainer.contract import Budget, Range, Task, TrialResult

Limits = tuple[tuple[float, float], ...]  # (share of a trial's budget, highest loss there)


class Clock(Protocol):
    """The only source of time in the swarm; simulated time is another clock."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` of this clock's time."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One accelerator that can run one trial."""

    name: str  # unique in a home, e.g. "cpu-0"
    accelerator: str  # its type, e.g. "cpu", "H100"
    device: int | None = None  # CUDA device number; None on CPU
    memory_mb: int | None = None  # MiB a trial may use; None: the task's limit alone
    price_per_hour: float = 0.0  # dollars
    lead_seconds: float = 0.0  # how long before a trial's expected end the next one is put in line; 0: never


@dataclass(frozen=True, kw_only=True)
class TrialOrder:
    """All an executor needs to run one trial."""

    trial_id: str  # names the trial for ever; submitting it twice runs it once
    session: str
    task: Task
    source: str  # the candidate's editable file, whole
    tier: str
    budget: Budget
    seed: int
    slot: Slot
    token: int  # fencing token of the lease
    holdout: bool = False  # score the hidden shard too
    limits: Limits = ()  # above one of them the trial is CUT
    keep: bool = False  # leave what it saved in the trial's folder, where it runs on this machine and is judged
    quick: bool = False  # judge a few windows only: to see whether it runs, not how good it is


class Executor(Protocol):
    """Runs trials somewhere.

    Promises: ``submit`` of a known trial id starts nothing anew; a trial survives the death of the swarm's
    process and ``result`` of the resumed swarm finds it; every submitted trial ends in exactly one result, with
    outcome PREEMPTED when the trial was lost; when ``cancel`` returns, nothing of the trial runs any more. What is
    kept of a trial that is over goes with ``drop_checkpoint`` and ``forget``; a trial that is forgotten is unknown.
    """

    async def prepare(self, task: Task, progress: Callable[[str], None]) -> None:
        """Make the task's data ready where trials will run; a no-op when it is. Raises SwarmError."""
        ...

    async def submit(self, order: TrialOrder) -> None:
        """Start the trial, unless it is known. Raises DiskFull."""
        ...

    async def result(self, trial_id: str) -> TrialResult:
        """Wait for the trial's end."""
        ...

    async def cancel(self, trial_id: str) -> None:
        """End the trial and return when it is confirmed dead."""
        ...

    async def drop_checkpoint(self, trial_id: str) -> None:
        """Keep no longer what a trial saved that is over; a no-op where nothing is kept."""
        ...

    async def forget(self, trial_id: str) -> None:
        """Keep nothing any more of a trial that is over and on record."""
        ...


@dataclass(frozen=True, kw_only=True)
class GpuUse:
    """Who uses a GPU of this machine at one moment."""

    computing: tuple[int, ...] = ()  # ids of processes that compute on it, as far as they can be seen from here
    held_mb: int = 0  # MiB of its memory that processes hold, those that draw a screen left out


class Gpus(Protocol):
    """Sees who uses the GPUs of this machine."""

    def use(self, device: int) -> GpuUse:
        """Of one CUDA device, now; takes some milliseconds. Raises SwarmError where the driver does not tell."""
        ...


class CandidateStore(Protocol):
    """Keeps every candidate under a name that nothing else has: its commit. Calls may block for some milliseconds."""

    def commit(
        self,
        name: str,
        source: str,
        message: str,
        *,
        parent: str | None,
        at: float,
        files: Mapping[str, str] | None = None,
    ) -> str:
        """Keep ``source`` as the editable file of experiment ``name``, on top of ``parent``, at unix time ``at``."""
        ...

    def source(self, commit: str) -> str:
        """The editable file at ``commit``, whole. Raises SwarmError when the commit is not known."""
        ...

    def set_best(self, commit: str) -> None:
        """Note that this is the best candidate now."""
        ...

    def diff(self, old: str, new: str) -> str:
        """Unified diff of the editable file."""
        ...

    def merge(self, base: str, ours: str, theirs: str) -> str | None:
        """Three-way merge of file texts: the change base -> theirs applied to ours; None where they conflict."""
        ...

    def pack(self) -> None:
        """Let what is kept take less room; may block for seconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What one cell gave."""

    text: str  # stdout and the repr of the last expression
    images: tuple[bytes, ...]  # PNG files it displayed
    outputs: tuple[Json, ...]  # as nbformat keeps them, for the .ipynb export
    error: str | None  # the last line of the traceback; None when it ran through


class Kernel(Protocol):
    """A Jupyter kernel the analyst computes in. Cells share one namespace, as in a notebook."""

    async def run(self, source: str, *, timeout_seconds: float) -> CellResult:
        """Run one cell. Raises KernelDied when the kernel is gone or the time is up; the next call gets a new one."""
        ...

    async def close(self) -> None:
        """End the kernel; it is gone when this returns."""
        ...


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One experiment as a proposer sees it."""

    experiment: str
    wave: str | None
    knobs: Mapping[str, Knob]  # every constant of the candidate, not only the changed ones
    gain: float | None  # measured at screening against the baseline there; positive is better; None: no value
    outcome: str  # of its last trial
    peak_memory_mb: float | None = None  # MiB, of its last trial; None: not known
    author: str = ""  # who proposed it
    seconds: float = 0.0  # that its screening trials were charged


@dataclass(frozen=True, kw_only=True)
class Brief:
    """What a proposer is told. Everything else it recalls from the notebook by itself."""

    session: str
    task: Task
    parent: str  # commit of the incumbent
    source: str  # the incumbent's file
    knobs: Mapping[str, Knob]  # the incumbent's constants
    ranges: Mapping[str, Range]  # the search space, one range a constant
    observations: Sequence[Observation]  # all experiments of the session that were screened, in order
    taken: Sequence[Mapping[str, Knob]] = ()  # constants of those not screened: still open, or rejected
    parts: Mapping[str, int] = field(default_factory=dict)  # part of the file -> experiments that changed it
    files: Mapping[str, str] = field(default_factory=dict)  # sha256 of a file that was proposed -> its experiment
    noise: float | None  # sd of one screening score, metric units; None until measured
    wanted: int  # how many proposals fill the backlog
    wave: str | None  # name of the wave to design; None: single experiments, to bridge a gap
    seed: int  # its randomness follows from this
    slots: int = 1  # experiments that run at once
    barren: int = 0  # experiments since the last confirmed gain, once they are so many that it is a plateau; else 0
    bold: bool = False  # the wave is the first of a plateau, or of a longer one: it had better look further away


class Proposer(Protocol):
    """Thinks of changes. May return fewer than wanted, or none when it has nothing worth a slot."""

    name: str

    async def propose(self, brief: Brief) -> list[Proposal]: ...


@dataclass(frozen=True, kw_only=True)
class WaveReport:
    """A finished wave, as the analyst gets it."""

    session: str
    task: Task
    wave: str
    design: str  # "plackett-burman", "sampler", ...
    baseline: Mapping[str, Knob]  # constants of the wave's parent
    observations: Sequence[Observation]  # of the whole session; those of the wave bear its name
    noise: float | None  # sd of one screening score


# ---- models that answer questions ------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ToolCall:
    """A model's wish to have a tool used."""

    id: str  # names the call within one conversation
    name: str  # of the tool
    arguments: str  # JSON, as the model wrote it: not yet checked


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a conversation with a model."""

    role: str  # "system", "user", "assistant" or "tool"
    content: str
    calls: tuple[ToolCall, ...] = ()  # what an assistant asked for
    answers: str | None = None  # id of the call that a tool's turn answers


@dataclass(frozen=True, kw_only=True)
class Tool:
    """What a model may ask us to do, as it is told of it."""

    name: str
    description: str  # one sentence
    parameters: Json  # JSON schema of the arguments


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One question to a model."""

    messages: Sequence[Message]
    schema: Json | None = None  # JSON schema of the answer; None: free text
    schema_name: str = "answer"
    tools: Sequence[Tool] = ()
    temperature: float | None = None  # None: the endpoint's own
    max_tokens: int = 4096  # of the answer


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens that an answer took."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False  # the endpoint did not count all of them

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            estimated=self.estimated or other.estimated,
        )

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model said."""

    text: str
    calls: tuple[ToolCall, ...] = ()  # tools it wants used before it goes on
    finish: str = "stop"  # "stop", "length" (cut at max_tokens), "tool_calls" or "refusal"
    usage: Usage = Usage()  # attempts that broke off included


class ChatModel(Protocol):
    """A language model somewhere.

    Promises: a question that the endpoint refuses for a passing reason is asked again, with growing pauses and as
    the endpoint wishes; what no patience mends is raised at once. What comes back is what the model said, unchecked.
    """

    @property
    def name(self) -> str: ...

    async def ask(self, ask: Ask, *, heard: Callable[[str], None] | None = None) -> Answer:
        """One answer; ``heard`` gets its text as it comes. Raises ContextOverflow, ModelMisused, ModelUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
