"""The analyst: what a wave shows is computed in a true kernel and becomes a page; a dying kernel is told."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio

from notebook_store.entry import Kind
from notebook_store.export import to_ipynb
from notebook_store.notebook import Notebook
from swarm.agents.analyst import Analyst
from swarm.agents.analyst_llm import ModelAnalyst
from swarm.agents.kernel import JupyterKernel
from swarm.errors import KernelDied
from swarm.ports import CellResult, Observation, WaveReport
from swarm.research.waves import plackett_burman
from tests.fake_embedder import WordEmbedder
from tests.fakes import FakeClock
from tests.fakes.endpoint import Reply, endpoint, says
from tests.thinking_lab import thinking_lab
from trainer.contract import Task, find_task

pytestmark = pytest.mark.asyncio(loop_scope="module")  # one kernel serves all: its start is most of the time
FACTORS = tuple("ABCDEFGHIJK")
NOISE = 0.01
PLOT = """\
import matplotlib.pyplot as plt
print(len(report["runs"]), "runs of", report["wave"])
plt.plot([run["gain"] for run in report["runs"]])
plt.show()
"""


class DyingKernel:
    """A kernel that dies at every cell."""

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, source: str, *, timeout_seconds: float) -> CellResult:
        self.runs += 1
        raise KernelDied("the analyst's kernel died while it ran a cell")

    async def close(self) -> None:
        return


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "notebook", embedder=WordEmbedder()) as notebook:
        yield notebook


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[JupyterKernel]:
    kernel = JupyterKernel(tmp_path_factory.mktemp("scratch"))
    yield kernel
    await kernel.close()


@pytest.fixture(scope="module")
def task() -> Task:
    return find_task("tinytext")


def screening(task: Task, crashed: tuple[int, ...] = ()) -> WaveReport:
    """A screening wave in which A helps by 0.10, B hurts by 0.06, and A x B matters by 0.04."""
    draw = Random(5)
    observations = []
    for number, row in enumerate(plackett_burman(11)[:-1]):
        sign = dict(zip(FACTORS, row, strict=True))
        gain = 0.02 + 0.05 * sign["A"] - 0.03 * sign["B"] + 0.02 * sign["A"] * sign["B"] + draw.gauss(0, NOISE)
        gone = number in crashed
        observations.append(
            Observation(
                experiment=f"s-e{number:03d}",
                wave="wave 1",
                knobs={factor: 2.0 if level > 0 else 1.0 for factor, level in sign.items()},
                gain=None if gone else gain,
                outcome="CRASHED" if gone else "COMPLETED",
            )
        )
    return WaveReport(
        session="s",
        task=task,
        wave="wave 1",
        design="plackett-burman",
        baseline=dict.fromkeys(FACTORS, 1.0),
        observations=observations,
        noise=NOISE,
    )


async def test_a_screening_wave_becomes_an_insight_with_figures(
    notebook: Notebook, kernel: JupyterKernel, task: Task
) -> None:
    analyst = Analyst(notebook, kernel, clock=FakeClock())
    name = await analyst.analyse(screening(task))
    entry = notebook.get(name)
    assert entry.kind is Kind.INSIGHT
    effects = {effect["factor"]: effect for effect in entry.data["effects"]}
    assert effects["A"]["effect"] == pytest.approx(0.10, abs=0.04)
    assert effects["A"]["ci"][0] < effects["A"]["effect"] < effects["A"]["ci"][1]
    assert (effects["A"]["low"], effects["A"]["high"]) == (1.0, 2.0)
    assert entry.title.startswith("wave 1: A +0.")
    assert {entry.data["interactions"][0][key] for key in "ab"} == {"A", "B"}
    assert "| A | 1.0 → 2.0 | +0." in entry.body
    assert "Aliased" in entry.body
    assert [attached.name for attached in entry.attachments] == ["effects.png", "interaction.png"]
    assert all(attached.data.startswith(b"\x89PNG") for attached in entry.attachments)
    assert "finding(report)" in to_ipynb([entry], title="t")
    assert await analyst.analyse(screening(task)) == name
    assert notebook.count() == 1


async def test_crashed_runs_are_missing_and_said_to_be(notebook: Notebook, kernel: JupyterKernel, task: Task) -> None:
    entry = notebook.get(await Analyst(notebook, kernel, clock=FakeClock()).analyse(screening(task, crashed=(1, 4))))
    assert entry.data["effects"][0]["factor"] == "A"
    assert entry.data["n"] == 10
    assert entry.data["lost"]
    assert "Too few runs to tell" in entry.body


async def test_other_waves_give_trends_over_the_session(notebook: Notebook, kernel: JupyterKernel, task: Task) -> None:
    draw = Random(1)
    observations = [
        Observation(
            experiment=f"s-e{number:03d}",
            wave="wave 2" if number > 20 else "wave 1",
            knobs={"LR": 10 ** (x := draw.uniform(-4, -2)), "NAME": "b" if number % 2 else "a"},
            gain=0.05 * (x + 3) + draw.gauss(0, NOISE),
            outcome="COMPLETED",
        )
        for number in range(30)
    ]
    report = WaveReport(
        session="s",
        task=task,
        wave="wave 2",
        design="search",
        baseline={"LR": 1e-3, "NAME": "a"},
        observations=observations,
        noise=NOISE,
    )
    entry = notebook.get(await Analyst(notebook, kernel, clock=FakeClock()).analyse(report))
    assert entry.data["effects"][0]["factor"] == "LR"
    assert entry.data["effects"][0]["effect"] == pytest.approx(0.1, abs=0.03)
    assert "trends" in entry.body


async def test_a_model_computes_in_cells_whose_figures_and_code_stay(
    kernel: JupyterKernel, task: Task, tmp_path: Path
) -> None:
    script = [
        Reply(calls=[("run_cell", {"source": "import os\nos._exit(1)"})]),
        Reply(calls=[("run_cell", {"source": "1 / 0"})]),
        Reply(calls=[("run_cell", {"source": PLOT})]),
        says({"title": "A helps", "body": "by 0.1", "factors": ["A", "nothing"], "questions": ["Why does A help?"]}),
    ]
    with thinking_lab(tmp_path) as lab, endpoint(script) as server:
        analyst = ModelAnalyst(lab.mind(server, "analyst-llm"), lab.notebook, kernel, clock=lab.clock)
        finding = lab.notebook.get(await analyst.look(screening(task)))
        asked = [note.title for note in lab.notebook.entries(kinds=[Kind.NOTE])]
    told = [turn["content"] for turn in server.requests[-1]["messages"] if turn["role"] == "tool"]
    assert "kernel died" in told[0]
    assert "ZeroDivisionError" in told[1]
    assert "11 runs of wave 1" in told[2]
    assert (finding.kind, finding.author, finding.factors) == (Kind.INSIGHT, "analyst-llm", ("A",))
    (figure,) = finding.attachments
    assert figure.data.startswith(b"\x89PNG")
    exported = to_ipynb([finding], title="night")
    assert "plt.plot" in exported
    assert "11 runs of wave 1" in exported
    assert asked == ["Why does A help?"]


async def test_a_kernel_that_keeps_dying_leaves_a_note(notebook: Notebook, task: Task) -> None:
    kernel = DyingKernel()
    entry = notebook.get(await Analyst(notebook, kernel, clock=FakeClock()).analyse(screening(task)))
    assert entry.kind is Kind.NOTE
    assert "died" in entry.body
    assert kernel.runs == 2


async def test_a_wave_of_crashes_leaves_a_note(notebook: Notebook, kernel: JupyterKernel, task: Task) -> None:
    report = screening(task, crashed=tuple(range(11)))
    entry = notebook.get(await Analyst(notebook, kernel, clock=FakeClock()).analyse(report))
    assert entry.kind is Kind.NOTE
    assert "too few runs" in entry.body
