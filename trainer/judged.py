"""A judged trial: the judge's process forks the training, then scores what it saved."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer import compiled, judge, sandbox, worker
from trainer.contract import Outcome, TaskError
from trainer.runtime import WEIGHTS
from trainer.trial import Trial
from trainer.watch import Ended
from trainer.wire import Wire

LEAVE_SECONDS = 0.3  # a candidate that has saved may still tidy up for so long
JUDGE_SECONDS = 300.0  # most wall seconds of judging one model
SERVE_CPU_SECONDS = 120  # most CPU-seconds the model may take to answer the judge
SAID_NUMBERS = 32  # lines `name: number` of the candidate's output that a result keeps, as its own word
WEIGHTS_MB = 512  # largest file of weights, MiB


class JudgedTrial(Trial):
    """Two phases, both watched from here: training, and judging."""

    def measure(self) -> tuple[float, float | None]:
        """Train, take the weights, have them judged. Raises Ended."""
        if self.data is None:
            raise TaskError(f"task '{self.task.name}' is judged and needs data; give `data_dir` in the spec")
        self.answers: list[dict[str, Any]] = []  # what the judge said and nobody has taken yet
        self.judge_log = self.work / "judge.log"
        self.here = False  # whether the training process waits for its turn
        self.store = Path(self.spec.compiled) if self.spec.compiled else None
        try:
            candidate_file = self.start_judge()
            self.train(candidate_file)
            return self.score()
        except ConnectionError:
            raise self.judge_failed("it ended") from None

    def start_judge(self) -> int:
        """Start the judge's process and wait until it can fork; returns its number of the candidate's open file."""
        self.candidate, theirs = Wire.pair()
        self.judge, judge_end = Wire.pair()
        keep = (judge_end.fileno(), theirs.fileno(), self.log_write)
        with self.judge_log.open("wb") as log:
            start = self.fork_judge if "torch" in sys.modules else self.spawn_judge
            self.family.excluded.add(start(keep, log.fileno()))
        candidate_file = theirs.fileno()
        judge_end.close()
        theirs.close()
        self.await_answer("torch")
        self.extra["start_seconds"] = time.monotonic() - self.born
        return candidate_file

    def spawn_judge(self, keep: tuple[int, ...], log: int) -> int:
        """Start a judge that has torch still to import; returns its pid."""
        return subprocess.Popen(
            [sys.executable, "-m", "trainer.judge", str(keep[0])],
            env=self.environment(self.work),
            pass_fds=keep,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=sandbox.die_with_parent,  # noqa: PLW1509 - the harness has one thread
        ).pid

    def fork_judge(self, keep: tuple[int, ...], log: int) -> int:
        """Become the judge in a child: a warm worker's harness has torch imported. Returns its pid."""
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            sandbox.die_with_parent()
            worker.redirect(log)
            worker.close_all_but(keep)
            os.environ.clear()
            os.environ.update(self.environment(self.work))
            judge.main([str(keep[0])])
            code = 0
        except BaseException:  # noqa: BLE001 - the child must never return into the harness's code
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def judge_failed(self, why: str) -> Ended:
        """The end of a trial whose judge broke: never a score, and no fault of the candidate's."""
        if self.cancelled:
            return Ended(Outcome.PREEMPTED, "cancelled by SIGTERM")
        lines = self.judge_log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return Ended(Outcome.CRASHED, f"the judge itself failed, not the candidate: {lines[-1] if lines else why}")

    # -- training -------------------------------------------------------------------------------------

    def train(self, candidate_file: int) -> None:
        """Run the training until its weights are taken and it is gone."""
        if self.store:
            compiled.give(self.store, self.folder / self.spec.candidate, self.scratch)
        self.judge.send({"do": "train", "wire": candidate_file, **self.job([self.scratch], self.meter.cpu_limit())})
        self.await_answer("started")
        self.servers = [self.new_scratch(f"serve{number}") for number in range(judge.SERVERS)]
        self.taken_at: float | None = None
        self.watch_training(lambda: self.here)
        self.await_turn()
        self.meter.start()
        self.reply({"go": True})
        self.watch_training(lambda: self.taken_at is not None)
        if self.taken_at is None:
            status = self.take_answer("status")["status"]
            if status == 0:
                raise Ended(Outcome.CRASHED, "ended without saving a model; call runtime.save(model) at the end")
            raise self.end_from_status(status)
        leave_by = self.taken_at + LEAVE_SECONDS
        self.watch({self.judge: self.answers.append}, lambda: bool(self.answers) or time.monotonic() > leave_by)
        self.family.kill(0.0)
        self.await_answer("status")
        self.check_protected()
        said = list(self.log.numbers.items())[:SAID_NUMBERS]
        self.extra = {name: value for name, value in said if name != self.task.metric} | self.extra

    def watch_training(self, done: Callable[[], bool]) -> None:
        """Hear the candidate until `done`, or until its process has ended."""
        self.watch({self.judge: self.answers.append, self.candidate: self.hear}, lambda: done() or bool(self.answers))

    def job(self, places: list[Path], cpu_seconds: int) -> dict[str, Any]:
        """What the judge needs to start the candidate's processes, one in each place."""
        return {
            "layouts": [self.layout(place).to_json() for place in places],
            "method": self.probe.method,
            "file": self.task.editable,
            "environment": self.environment(places[0]),
            "seed": self.spec.seed,
            "threads": self.spec.threads,
            "cpu_seconds": cpu_seconds,
            "log": self.log_write,
        }

    def hear(self, message: dict[str, Any]) -> None:
        """What the candidate says: here, ready, a step, or that its weights are there."""
        if "here" in message:
            self.here = True
        elif "ready" in message and self.meter.ready_at is None:
            self.meter.ready()
            self.extra["warm_up_seconds"] = self.meter.cpu
            if self.store:
                compiled.keep(self.store, self.folder / self.spec.candidate, self.scratch)
            assert self.data is not None
            with (self.data / "train.bin").open("rb") as tokens:
                self.reply({"go": True}, tokens.fileno())
        elif "step" in message:
            step, loss = int(message["step"]), float(message["loss"])
            self.meter.steps = max(self.meter.steps, step)
            self.report(step, loss)
        elif "saved" in message and self.taken_at is None:
            self.meter.saved()
            self.take_weights()
            self.taken_at = time.monotonic()
            self.reply({"taken": True})

    def reply(self, message: dict[str, Any], file: int | None = None) -> None:
        """Answer the candidate, which may be gone: its end is heard of otherwise."""
        with contextlib.suppress(OSError):
            self.candidate.send(message, file)

    def take_weights(self) -> None:
        """Copy the saved file out of the candidate's reach: what it does later changes nothing."""
        try:
            file = os.open(self.scratch / WEIGHTS, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError as error:
            raise Ended(Outcome.CRASHED, f"said that it saved, but {WEIGHTS}: {error.strerror}") from None
        with os.fdopen(file, "rb") as source:
            found = os.fstat(source.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > WEIGHTS_MB << 20:
                raise Ended(Outcome.REJECTED_BY_JUDGE, f"{WEIGHTS} is not a plain file of at most {WEIGHTS_MB} MiB")
            for place in [*self.servers, self.folder] if self.spec.keep else self.servers:
                source.seek(0)
                with (place / WEIGHTS).open("wb") as target:
                    shutil.copyfileobj(source, target)

    # -- judging --------------------------------------------------------------------------------------

    def score(self) -> tuple[float, float | None]:
        """Have the judge score the weights: the metric, and the holdout's where asked for. Raises Ended."""
        started = time.monotonic()
        assert self.data is not None
        meta = json.loads((self.data / "meta.json").read_text(encoding="utf-8"))
        request = {
            "do": "judge",
            "data": str((self.data / "judge").resolve()),
            "window": meta["window"],
            "vocab_size": meta["vocab_size"],
            "holdout": self.spec.holdout,
            "quick": self.spec.quick,
            "candidate": str(self.folder / self.spec.candidate),
            "own": str(self.task.editable_path),
            **self.job(self.servers, SERVE_CPU_SECONDS),
        }
        self.judge.send(request)
        self.await_answer("started")
        answer = self.await_answer("verdict", seconds=JUDGE_SECONDS)
        outcome = {
            "rejected": Outcome.REJECTED_BY_JUDGE,
            "slow": Outcome.TIMED_OUT,
            "failed": Outcome.CRASHED,
        }.get(answer["verdict"])
        if outcome is not None:
            raise Ended(outcome, "while being judged: " + answer["message"])
        self.extra["judge_seconds"] = time.monotonic() - started
        scores = answer["scores"]
        if not all(math.isfinite(value) for value in scores.values()):
            raise Ended(Outcome.REJECTED_BY_JUDGE, "its score is not finite")
        return scores["val"], scores.get("holdout")

    # -- talking with the judge -----------------------------------------------------------------------

    def await_answer(self, word: str, seconds: float = 120.0) -> dict[str, Any]:
        """The judge's next answer, which must have `word`. Raises Ended where there is none in time."""
        deadline = time.monotonic() + seconds
        self.watch({self.judge: self.answers.append}, lambda: bool(self.answers) or time.monotonic() > deadline)
        return self.take_answer(word)

    def take_answer(self, word: str) -> dict[str, Any]:
        """The oldest answer that nobody has taken, which must have `word`. Raises Ended."""
        if not self.answers:
            raise Ended(Outcome.TIMED_OUT, f"no `{word}` from the judge in time")
        answer = self.answers.pop(0)
        if word not in answer:
            raise self.judge_failed(f"unexpected answer {answer}")
        return answer
