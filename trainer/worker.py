"""The two processes that run a candidate's code: one trains it, one serves the trained model's logits.

Both start as a fork of a process that has torch imported (Linux), or as a fresh interpreter elsewhere; both are
shut in before the first line of the candidate runs.

    python -m trainer.worker JSON       what a fork does, for machines where forking is not safe
"""

from __future__ import annotations

import importlib.util
import json
import mmap
import os
import random
import runpy
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

from trainer import landlock, sandbox
from trainer.runtime import WEIGHTS
from trainer.wire import Wire

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE_MB = 2048  # largest file a candidate may write, MiB
TOKEN_BYTES, LOGIT_BYTES = 8, 4  # int64 in, float32 out


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one of the two processes is to do."""

    role: str  # train or serve
    layout: sandbox.Layout  # what it can see
    method: str  # sandbox method: namespaces, bubblewrap, landlock or none
    file: str  # the candidate, relative to the scratch folder
    environment: dict[str, str]  # all of it
    seed: int  # of random and torch
    threads: int  # of torch
    cpu_seconds: int  # hard limit behind the harness's own measuring
    wire: int  # open file: to the harness (train) or the judge (serve)
    log: int  # open file: what it prints
    exchange: int = -1  # open file shared with the judge (serve)
    shape: tuple[int, int, int] = (0, 0, 0)  # rows, window, vocabulary of one request (serve)


def start(job: Job) -> int:
    """Start the process; returns its pid."""
    keep = [job.wire, job.log] + ([job.exchange] if job.exchange >= 0 else [])
    if sys.platform == "linux" and job.method != "bubblewrap":
        pid = os.fork()
        if pid == 0:
            _become(job, keep)
        return pid
    command = [sys.executable, "-m", "trainer.worker", json.dumps(asdict(job))]
    if job.method == "bubblewrap":
        command = sandbox.bubblewrap_argv(job.layout, command)
    return subprocess.Popen(
        command,
        env=job.environment,
        pass_fds=keep,
        start_new_session=True,
        preexec_fn=sandbox.die_with_parent,  # noqa: PLW1509 - the judge has one thread
    ).pid


def _become(job: Job, keep: list[int]) -> NoReturn:
    """The forked child: shut in, run the job, leave without touching what the parent had open."""
    code = 70
    try:
        sandbox.die_with_parent()
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        close_all_but(keep)
        os.environ.clear()
        os.environ.update(job.environment)
        if job.method == "namespaces":
            redirect(job.log)
            sandbox.enter(job.layout)
        elif job.method == "landlock":
            landlock.restrict(sandbox.landlock_view(job.layout))
        code = run(job)
    except BaseException:  # noqa: BLE001 - the child must never return into its parent's code
        traceback.print_exc()
    finally:
        os._exit(code)


def close_all_but(keep: Sequence[int]) -> None:
    """Close every open file but the standard three and those in `keep`."""
    low = 3
    for number in sorted(keep):
        os.closerange(low, number)
        low = number + 1
    os.closerange(low, 1024)


def redirect(log: int) -> None:
    """Have this process print to `log` and read nothing."""
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def run(job: Job) -> int:
    """Do the job in this process; returns the exit status."""
    redirect(job.log)
    os.environ["NIGHTSWARM_FD"] = str(job.wire)
    os.chdir(job.layout.scratch)
    sandbox.limit(cpu_seconds=job.cpu_seconds, file_mb=FILE_MB)
    import torch

    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    random.seed(job.seed)
    sys.path.insert(0, job.layout.scratch)
    sys.argv = [job.file]
    try:
        if job.role == "train":
            await_turn(job)
            runpy.run_path(job.file, run_name="__main__")
        else:
            serve(job)
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except Exception:  # noqa: BLE001 - hostile code may raise anything; its traceback is the result
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def await_turn(job: Job) -> None:
    """Be ready for the candidate's first line, and wait until the harness says that the slot is this trial's alone.

    What a trial on a GPU mostly needs, torch's compiler, is imported meanwhile; the GPU itself is left alone.
    """
    if job.layout.gpu:
        import torch._inductor.compile_fx  # noqa: F401 - for the candidate
    wire = Wire.inherited(job.wire)
    wire.send({"here": True})
    if wire.receive() is None:
        raise SystemExit("the harness is gone")
    wire.sock.detach()  # the candidate opens it again


# ---------------------------------------------------------------------------------------------------------
# Serving logits
# ---------------------------------------------------------------------------------------------------------


def serve(job: Job) -> None:
    """Answer the judge: token ids [rows, window] come in by shared memory, logits [rows, window, vocab] go out."""
    import torch

    wire = Wire.inherited(job.wire)
    try:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_model(job.file).to(device)
        tokens, logits = views(job.exchange, job.shape)
        wire.send({"serving": True})
        with torch.inference_mode():
            while wire.receive() is not None:
                answer = model(tokens.to(device, copy=True))
                if tuple(answer.shape) != job.shape:
                    wire.send({"rejected": f"logits have shape {tuple(answer.shape)}, not {job.shape}"})
                    return
                logits.copy_(answer)
                wire.send({"done": True})
    except Exception as error:
        wire.send({"error": f"{type(error).__name__}: {error}"[:500]})
        raise


def load_model(file: str) -> nn.Module:
    """The candidate's model with its trained weights, in evaluation mode."""
    from trainer.weights import read_weights

    spec = importlib.util.spec_from_file_location("candidate", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules["candidate"] = module
    spec.loader.exec_module(module)
    model: nn.Module = module.build_model()
    model.load_state_dict(read_weights(Path(WEIGHTS)))
    return model.eval()


def exchange_bytes(shape: tuple[int, int, int]) -> int:
    """Size of the memory that judge and model share for requests of this shape."""
    rows, window, vocabulary = shape
    return rows * window * (TOKEN_BYTES + vocabulary * LOGIT_BYTES)


def views(file: int, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """The two halves of the shared memory: int64 tokens [rows, window], float32 logits [rows, window, vocab]."""
    import torch

    rows, window, _ = shape
    memory = mmap.mmap(file, exchange_bytes(shape))
    cut = rows * window * TOKEN_BYTES
    tokens = torch.frombuffer(memory, dtype=torch.int64, count=rows * window).view(rows, window)
    logits = torch.frombuffer(memory, dtype=torch.float32, offset=cut).view(shape)
    return tokens, logits


def main(argv: list[str]) -> int:
    """Run the job given as JSON."""
    values = json.loads(argv[0])
    layout = sandbox.Layout.from_json(json.dumps(values.pop("layout")))
    return run(Job(**{**values, "layout": layout, "shape": tuple(values["shape"])}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
