"""swarm.toml -> frozen settings. Every field is documented here and nowhere else."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from swarm.errors import InputError

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Kinds = Annotated[tuple[Name, ...], BeforeValidator(lambda named: () if named == "auto" else named)]


class _Section(BaseModel):
    """A section of swarm.toml: read once, never changed; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Section):
    """[limits]: when a session ends. Whatever is reached first ends it; what is left out never does."""

    hours: float | None = Field(default=8.0, gt=0)  # wall-clock hours the session works, in all its runs
    experiments: int | None = Field(default=None, gt=0)  # experiments begun, the rejected not counted
    gpu_hours: float | None = Field(default=None, gt=0)  # slot-hours under lease, whatever the accelerator
    dollars: float | None = Field(default=None, gt=0)  # price_per_hour x lease time, and what models cost
    tokens: int | None = Field(default=None, gt=0)  # of language models, in and out
    patience: int | None = Field(default=None, gt=0)  # experiments decided in a row without a confirmed gain


class SlotGroup(_Section):
    """[[slots]]: accelerators of one kind on this machine. Left out, they are found by looking."""

    accelerator: Name  # what tiers call it: "cpu", "H100", ...
    count: int = Field(default=1, gt=0)  # how many trials it can run at once
    devices: tuple[int, ...] | None = None  # CUDA device numbers, one a slot; None on CPU
    memory_mb: int | None = Field(default=None, gt=0)  # memory of one slot, MiB; None: the task's limit alone
    price_per_hour: float = Field(default=0.0, ge=0)  # dollars a slot-hour


class PoolSettings(_Section):
    """[[pool]]: clusters of one kind that SkyPilot starts, for `--executor sky`."""

    accelerators: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(:[1-9][0-9]*)?$")]  # a cluster: "H100:8"
    infra: str | None = None  # "kubernetes", "slurm/CLUSTER/PARTITION", "aws", ...; None: wherever SkyPilot finds them
    count: int = Field(default=1, gt=0)  # clusters
    spot: bool = False  # may be taken away at any time, for less
    autostop: int = Field(default=10, gt=0)  # minutes a cluster idles before it tears itself down, whoever forgot it
    price_per_hour: float | None = Field(default=None, ge=0)  # dollars an accelerator-hour; None: SkyPilot's

    @property
    def kind(self) -> str:
        """The accelerator's name, as tiers call it."""
        return self.accelerators.partition(":")[0]

    @property
    def each(self) -> int:
        """Accelerators of one cluster, and so its slots."""
        return int(self.accelerators.partition(":")[2] or 1)


class TierSettings(_Section):
    """[tiers.NAME]: one row of the ladder a candidate climbs."""

    accelerators: Kinds = ()  # kinds of slot it may use, best first; "auto" or none: picked by speed, price, scarcity
    priority: int = 0  # higher is served first when slots are contended
    preempt: bool = False  # end a trial of a lower tier (it runs again) rather than wait for its end
    budget: float | None = Field(default=None, gt=0)  # seconds (or steps) a trial; None: what the task says


class PromotionSettings(_Section):
    """[promotion]: how sure is sure. See docs/evidence.md for the rules these enter."""

    alpha: float = Field(default=0.05, gt=0, lt=0.5)  # false discovery rate of CONFIRMED over a session
    replicates: int = Field(default=4, ge=2)  # baseline runs a tier, from which the noise floor is measured
    min_pairs: int = Field(default=4, ge=2)  # validation seeds run before the first look
    cut_hopeless: bool = True  # stop a screening trial early whose training loss is hopeless; never a validation
    max_pairs: int = Field(default=64, ge=2)  # validation seeds after which an undecided candidate is refuted


class WaveSettings(_Section):
    """[waves]: how many experiments share a design."""

    size: int = Field(default=12, ge=4, le=64)  # experiments a wave; 10-13 suits a dozen constants


class DiskSettings(_Section):
    """[disk]: what is left free on the disk of the home. See docs/deploy.md for what a session needs."""

    reserve_mb: float = Field(default=500.0, ge=0)  # MB; while less are free no trial starts


class NotebookSettings(_Section):
    """[notebook]: whose it is, and with what its index is made. Left out: this home's, as it was made before."""

    url: str | None = None  # of another swarm's served notebook, to work in that one; SWARM_NOTEBOOK_TOKEN opens it
    port: int = Field(default=0, ge=0, le=65535)  # at which ours is served on 127.0.0.1; 0 takes a free one
    embeddings_url: str | None = None  # base of an OpenAI-compatible API that embeds; None: the built-in model
    embeddings_model: str | None = None  # as that server calls it
    embeddings_dimension: int | None = Field(default=None, gt=0)  # numbers a vector
    embeddings_revision: str = "unknown"  # which weights of the model
    chroma_url: str | None = None  # of a `chroma run` that holds the vectors; None: the home itself

    @model_validator(mode="after")
    def _embeddings_whole(self) -> Self:
        if self.embeddings_url is not None and not (self.embeddings_model and self.embeddings_dimension):
            raise ValueError("embeddings_url needs embeddings_model and embeddings_dimension beside it")
        return self


class ModelSettings(_Section):
    """[models]: the model that the specialists think with. Without one they work by rule. See docs/models.md."""

    model: str | None = None  # as the endpoint calls it; None: OPENAI_MODEL, else what the endpoint offers first
    base_url: str | None = None  # of an OpenAI-compatible endpoint; None: OPENAI_BASE_URL, else OpenAI's own
    key_env: Name = "OPENAI_API_KEY"  # environment variable that holds the key; the key itself stands nowhere
    off: bool = False  # work by rule, whatever the environment says
    temperature: float | None = Field(default=None, ge=0, le=2)  # None: the endpoint's own
    max_tokens: int = Field(default=8192, gt=0)  # of one answer
    recall_tokens: int = Field(default=12_000, ge=500)  # of what the notebook and the library say, in one question
    timeout: float = Field(default=120.0, gt=0)  # seconds without a sign of life after which an endpoint is hung
    concurrency: int = Field(default=4, gt=0)  # questions under way at once, over all roles
    input_price: float = Field(default=0.0, ge=0)  # dollars a million tokens of questions
    output_price: float = Field(default=0.0, ge=0)  # dollars a million tokens of answers
    tokens: int | None = Field(default=2_000_000, gt=0)  # cap of the session; then the specialists work by rule
    dollars: float | None = Field(default=None, gt=0)  # cap of the session on models alone


class AgentSettings(_Section):
    """[[agents]]: one specialist that thinks; several of a role may differ in all of these.

    Without any block every role has one, as [models] says. What is left out is as in [models].
    """

    role: Name  # proposer, reviewer, reader, analyst, or a role of your own
    name: Name = "llm"  # tells instances apart: it signs as "proposer-NAME"
    kind: Literal["llm", "hybrid", "command"] = "llm"  # how a proposer works; other roles are llm
    model: str | None = None
    base_url: str | None = None
    key_env: Name | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    instructions: str = ""  # told before everything else, such as "prefer changes of the optimiser"
    input_price: float | None = Field(default=None, ge=0)  # dollars a million tokens of questions
    output_price: float | None = Field(default=None, ge=0)  # dollars a million tokens of answers
    tokens: int | None = Field(default=None, gt=0)  # cap of this agent in the session
    dollars: float | None = Field(default=None, gt=0)  # cap of this agent in the session
    command: tuple[str, ...] = ()  # of kind "command": the coding agent and its arguments
    pass_env: tuple[Name, ...] = ()  # of kind "command": environment variables it sees, such as its own key
    network: bool = False  # of kind "command": let it reach the network, as most coding agents must
    timeout: float = Field(default=600.0, gt=0)  # of kind "command": seconds it may take


class Settings(_Section):
    """All of swarm.toml."""

    limits: Limits = Limits()
    executor: Literal["local", "sky"] = "local"  # where trials run: on this machine, or on the clusters of [[pool]]
    experiment: Path | None = None  # SkyPilot YAML of a trial; None: the task's experiment.yaml, else ours
    slots: tuple[SlotGroup, ...] = ()
    pool: tuple[PoolSettings, ...] = ()
    tiers: dict[Name, TierSettings] = {
        "screen": TierSettings(priority=0),
        "validate": TierSettings(priority=10),
    }
    promotion: PromotionSettings = PromotionSettings()
    waves: WaveSettings = WaveSettings()
    disk: DiskSettings = DiskSettings()
    notebook: NotebookSettings = NotebookSettings()
    models: ModelSettings = ModelSettings()
    agents: tuple[AgentSettings, ...] = ()
    proposers: tuple[Name, ...] = ()  # who proposes: "optimizer", names or kinds of agents; empty: all there are
    approve: bool = False  # what the reviewer approves waits for a person's yes
    seed: int = 0  # the one source of randomness: proposals, designs and trial seeds follow from it


def load_settings(path: Path | None) -> Settings:
    """Read ``path`` (None: all defaults). Raises InputError naming the key and the remedy."""
    if path is None:
        return Settings()
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the --config path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{path}: {_first_fault(error)}") from error
    if settings.experiment is not None:  # named as seen from the file
        settings = settings.model_copy(update={"experiment": (path.parent / settings.experiment).resolve()})
    for needed in ("screen", "validate"):
        if needed not in settings.tiers:
            raise InputError(f"{path}: [tiers.{needed}] is missing; name both screen and validate, or neither")
    return settings


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key '{where}'; see docs/configuration.md for the keys there are"
    return f"'{where}': {fault['msg'][0].lower()}{fault['msg'][1:]}"
