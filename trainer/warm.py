"""A warm worker: a process that has torch imported and forks a harness for every judged trial.

Importing torch costs seconds, a fork milliseconds. The worker itself runs nothing of a candidate and reads no data, so
every fork starts from the same clean state. It is started with a clean environment, because a fork can read the one
its ancestor was started with. Whoever starts it may die: the worker then ends, and the harnesses it forked go on.

    python -m trainer.warm OPEN_FILE       speaks JSON lines over OPEN_FILE

Linux only, where forking a process that has torch imported is safe. The class is standard library only.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from trainer.wire import Wire

HARNESS_LOG = "harness.log"  # in the trial's folder: what the harness itself prints; empty unless it fails
KEPT = ("PATH", "HOME", "USER", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH")  # of our environment
POSSIBLE = sys.platform == "linux"


@dataclass(frozen=True, kw_only=True)
class Harness:
    """A harness that the worker forked."""

    pid: int  # also its process group
    file: int  # open file (pidfd) that becomes readable when it has ended; the caller closes it


class WarmWorker:
    """The worker as its owner sees it. Its first answer waits for torch. One caller at a time."""

    def __init__(self, python: str) -> None:
        self._wire, theirs = Wire.pair()
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {"PYTHONPATH": str(Path(__file__).parent.parent), "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "0"}
        environment |= {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
        self._process = subprocess.Popen(
            [python, "-m", "trainer.warm", str(theirs.fileno())],
            env=environment,
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """The worker's own process id."""
        return self._process.pid

    def run(self, folder: Path) -> Harness:
        """Fork a harness on a trial's folder. Raises ConnectionError where the worker is dead."""
        try:
            self._wire.send({"run": str(folder)})
            answer = self._wire.receive()
        except OSError as error:
            raise ConnectionError(f"the warm worker is gone: {error}") from error
        if answer is None:
            raise ConnectionError("the warm worker is gone")
        return Harness(pid=int(answer["pid"]), file=self._wire.take_file())

    def close(self) -> None:
        """End the worker; harnesses that it forked go on."""
        self._wire.close()
        self._process.wait()


# ---------------------------------------------------------------------------------------------------------
# The process
# ---------------------------------------------------------------------------------------------------------


def main(argv: list[str]) -> None:
    """Fork a harness for each folder named, until the owner hangs up."""
    import gc

    import torch  # noqa: F401 - what the forks are spared

    from trainer.sandbox import probe

    owner = Wire.inherited(int(argv[0]))
    probe()  # remembered by every fork
    gc.freeze()  # the forks shall not copy what never changes
    while (message := owner.receive()) is not None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # harnesses that have ended; their owner has seen it by the open file
        pid = os.fork()
        if pid == 0:
            _become_harness(Path(message["run"]), owner)
        file = os.pidfd_open(pid)
        owner.send({"pid": pid}, file=file)
        os.close(file)


def _become_harness(folder: Path, owner: Wire) -> NoReturn:
    """The forked child: what `python -m trainer.harness run FOLDER` is, in a session of its own."""
    from trainer import harness

    code = 70
    try:
        owner.close()
        os.setsid()
        log = os.open(folder / HARNESS_LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        os.chdir(folder)
        code = harness.main(["run", str(folder)])
    except BaseException:  # noqa: BLE001 - the child must never return into the worker's loop
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
