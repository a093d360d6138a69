"""What a Kernel promises, kept by the true one: a process of its own that is fenced in and leaves nothing behind."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from swarm.agents.kernel import JupyterKernel, network_can_be_cut
from swarm.errors import KernelDied

_LONG = 60.0  # seconds; a cold start on a busy machine


@pytest.fixture
async def kernel(tmp_path: Path) -> AsyncIterator[JupyterKernel]:
    kernel = JupyterKernel(tmp_path / "scratch")
    yield kernel
    await kernel.close()


def _kernels() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


async def test_cells_share_a_namespace_and_show_what_they_made(kernel: JupyterKernel) -> None:
    first = await kernel.run("x = 20\nprint('hello')", timeout_seconds=_LONG)
    second = await kernel.run("x + 1", timeout_seconds=_LONG)
    assert (first.text, first.error) == ("hello\n", None)
    assert (second.text, second.error) == ("21", None)
    assert second.outputs[0]["output_type"] == "execute_result"
    figure = await kernel.run(
        "import io, matplotlib.pyplot as plt\nfrom IPython.display import Image, display\n"
        "plt.plot([1, 2]); b = io.BytesIO(); plt.savefig(b); display(Image(data=b.getvalue()))",
        timeout_seconds=_LONG,
    )
    assert figure.images[0].startswith(b"\x89PNG")


async def test_an_error_is_told_and_the_kernel_goes_on(kernel: JupyterKernel) -> None:
    result = await kernel.run("y = 1\n1 / 0", timeout_seconds=_LONG)
    assert result.error == "ZeroDivisionError: division by zero"
    assert (await kernel.run("y", timeout_seconds=_LONG)).text == "1"


async def test_it_is_fenced_in(kernel: JupyterKernel, tmp_path: Path) -> None:
    os.environ["OPENAI_API_KEY"] = "sk-secret"
    try:
        told = await kernel.run(
            "import os, socket, resource\n"
            "print(os.environ.get('OPENAI_API_KEY'), os.nice(0), os.getcwd(), os.environ['OMP_NUM_THREADS'])\n"
            "print([name for _, name in socket.if_nameindex()])",
            timeout_seconds=_LONG,
        )
    finally:
        del os.environ["OPENAI_API_KEY"]
    first, second = told.text.splitlines()
    assert first == f"None {min(os.nice(0) + 10, 19)} {tmp_path / 'scratch'} 1"
    if network_can_be_cut():
        assert second == "['lo']"


async def test_a_kernel_that_dies_is_replaced(kernel: JupyterKernel) -> None:
    before = _kernels()
    await kernel.run("z = 1", timeout_seconds=_LONG)
    with pytest.raises(KernelDied, match="died"):
        await kernel.run("import os; os._exit(1)", timeout_seconds=_LONG)
    assert (await kernel.run("'z' in globals()", timeout_seconds=_LONG)).text == "False"
    await kernel.close()
    assert _kernels() <= before


async def test_a_cell_that_takes_too_long_ends_with_its_kernel(kernel: JupyterKernel) -> None:
    before = _kernels()
    await kernel.run("1", timeout_seconds=_LONG)
    with pytest.raises(KernelDied, match="longer than 1 s"):
        await kernel.run("while True: pass", timeout_seconds=1)
    assert _kernels() <= before
    assert (await kernel.run("2", timeout_seconds=_LONG)).text == "2"


async def test_closing_twice_or_unused_is_harmless(kernel: JupyterKernel) -> None:
    await kernel.close()
    await kernel.close()
