"""The analyst's Jupyter kernel: started when first used, fenced in, gone when closed.

The kernel is this interpreter's ipykernel in a process group of its own, at low priority, on one thread, with a
cap on its memory, none of our environment's secrets, a scratch folder to work in and, where the system can do
it (``unshare``), no network: it is spoken to through sockets in a private folder.
"""

import asyncio
import base64
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from swarm.errors import KernelDied
from swarm.ports import CellResult

if TYPE_CHECKING:
    from jupyter_client.asynchronous.client import AsyncKernelClient
    from jupyter_client.manager import AsyncKernelManager

_START_SECONDS = 60.0  # generous: a start takes about one on an idle machine
_POLL_SECONDS = 0.5  # how often a silent kernel is looked at
_MEMORY_BYTES = 4 << 30  # of address space; libraries reserve far more than they use
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV")
_LAUNCH = f"""
import os, resource, sys
sys.path.remove("")
os.nice(10)
try:
    resource.setrlimit(resource.RLIMIT_AS, ({_MEMORY_BYTES}, {_MEMORY_BYTES}))
except (ValueError, OSError):
    print("this system caps no address space: the kernel's memory is not limited", file=sys.stderr)
from ipykernel import kernelapp
kernelapp.launch_new_instance()
"""


class JupyterKernel:
    """A Kernel (see ports). One cell at a time; calls wait for each other."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is the scratch folder that cells work in; it is made when the kernel starts."""
        self._folder = folder
        self._turn = asyncio.Lock()
        self._manager: AsyncKernelManager | None = None
        self._client: AsyncKernelClient | None = None
        self._sockets: Path | None = None

    async def run(self, source: str, *, timeout_seconds: float) -> CellResult:
        """Run one cell. Raises KernelDied when the kernel is gone or the time is up; the next call gets a new one."""
        async with self._turn:
            try:
                async with asyncio.timeout(_START_SECONDS):
                    await self._started()
                async with asyncio.timeout(timeout_seconds):
                    return await self._executed(source)
            except TimeoutError as error:
                raise KernelDied(f"a cell took longer than {timeout_seconds:g} s; its kernel was ended") from error
            finally:
                if sys.exc_info()[0] is not None:  # a cell that was given up on leaves a kernel nobody knows
                    await self._end()

    async def close(self) -> None:
        """End the kernel; it is gone when this returns."""
        async with self._turn:
            await self._end()

    async def _started(self) -> None:
        if self._client is not None:
            return
        from jupyter_client.kernelspec import KernelSpec
        from jupyter_client.manager import AsyncKernelManager

        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        self._sockets = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="kernel-"))  # short: a socket's path
        manager = AsyncKernelManager(
            transport="ipc", ip=str(self._sockets / "s"), connection_file=str(self._sockets / "connection.json")
        )
        fence = ["unshare", "--map-root-user", "--net", "--"] if await asyncio.to_thread(network_can_be_cut) else []
        launch = [*fence, sys.executable, "-c", _LAUNCH, "-f", "{connection_file}"]
        manager._kernel_spec = KernelSpec(argv=[*launch, "--HistoryManager.enabled=False"], display_name="analyst")
        self._manager = manager
        await manager.start_kernel(cwd=str(self._folder), env=self._environment(), stderr=subprocess.DEVNULL)
        self._client = manager.client()
        self._client.start_channels()
        try:
            await self._client.wait_for_ready(timeout=_START_SECONDS)
        except RuntimeError as error:
            raise KernelDied(f"the analyst's kernel did not start: {error}; see `swarm doctor`") from error

    def _environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        own = dict.fromkeys(("HOME", "IPYTHONDIR", "MPLCONFIGDIR", "JUPYTER_RUNTIME_DIR"), str(self._folder))
        packages = str(Path(__file__).resolve().parents[2])
        figures = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # what is shown comes out of the cell
        return {**kept, **threads, **own, **figures, "PYTHONPATH": packages, "PYTHONDONTWRITEBYTECODE": "1"}

    async def _executed(self, source: str) -> CellResult:
        assert self._client is not None
        asked = self._client.execute(source, allow_stdin=False, store_history=False)
        messages: list[dict[str, Any]] = []
        while True:
            message = await self._next_message()
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return _collected(messages)
            messages.append(message)

    async def _next_message(self) -> dict[str, Any]:
        assert self._client is not None
        assert self._manager is not None
        while True:
            try:
                message: dict[str, Any] = await self._client.get_iopub_msg(timeout=_POLL_SECONDS)
            except Empty:
                if not await self._manager.is_alive():
                    raise KernelDied("the analyst's kernel died while it ran a cell") from None
            else:
                return message

    async def _end(self) -> None:
        if self._client is not None:
            self._client.stop_channels()
        if self._manager is not None and self._manager.has_kernel:
            await self._manager.shutdown_kernel(now=True)
        if self._sockets is not None:
            await asyncio.to_thread(shutil.rmtree, self._sockets, ignore_errors=True)
        self._client = self._manager = self._sockets = None


@cache
def network_can_be_cut() -> bool:
    """Whether this system lets us start a process without a network. Blocking, some milliseconds."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--map-root-user", "--net", "--", "true"]
    return subprocess.run(command, capture_output=True, check=False, timeout=10).returncode == 0


def _collected(messages: list[dict[str, Any]]) -> CellResult:
    import nbformat

    tool: Any = nbformat.v4  # its functions carry no types

    shown = [m for m in messages if m["msg_type"] in ("stream", "display_data", "execute_result", "error")]
    texts, images, error = [], [], None
    for message in shown:
        content = message["content"]
        data = content.get("data", {})
        if message["msg_type"] == "stream":
            texts.append(content["text"])
        elif message["msg_type"] == "error":
            error = f"{content['ename']}: {content['evalue']}"
        elif "image/png" in data:
            images.append(base64.b64decode(data["image/png"]))
        elif "text/plain" in data:
            texts.append(data["text/plain"])
    outputs = tuple(dict(tool.output_from_msg(message)) for message in shown)
    return CellResult(text="".join(texts), images=tuple(images), outputs=outputs, error=error)
