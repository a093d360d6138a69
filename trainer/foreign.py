"""A foreign trial: any command that prints `metric: value` lines; the score is what it says of itself."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

from trainer import landlock, sandbox
from trainer.contract import Outcome
from trainer.data import resolve_python
from trainer.trial import Trial
from trainer.watch import Ended
from trainer.worker import FILE_MB

STEP_NAMES = ("steps", "num_steps")  # what tasks call the number of optimiser steps


class ForeignTrial(Trial):
    """One command, watched until it ends."""

    def measure(self) -> tuple[float, float | None]:
        """Run the command and read its metric from what it printed. Raises Ended."""
        self.await_turn()
        self.meter.start()
        environment = self.environment(self.scratch)
        environment["PATH"] += os.pathsep + str(Path("~/.local/bin").expanduser())
        environment |= self.task.environment
        if "EXPERIMENT_ID" in environment:
            environment["EXPERIMENT_ID"] = self.spec.trial_id  # as SkyPilot's example names each of its runs
        environment["UV_PROJECT_ENVIRONMENT"] = str(self.task.folder / ".venv")  # `uv run` finds the task's own
        self.link_home()
        if self.data is not None:
            environment["NIGHTSWARM_DATA"] = str(self.data.resolve())
        process = self.spawn(environment)
        self.watch({}, lambda: self.hear() or process.poll() is not None)
        if process.returncode != 0:
            raise self.end_from_status(process.returncode)
        self.meter.saved()
        self.check_protected()
        self.drain_log()
        self.log.close()
        self.extra.update(self.log.numbers)
        for name in STEP_NAMES:
            self.meter.steps = int(self.extra.get(name, self.meter.steps))
        return self.metric(), None

    def link_home(self) -> None:
        """Let the command find readable paths of the user's home under its own home, the scratch folder."""
        for name in self.task.readable:
            place = Path(name)
            if place.parts[0] == "~" and place.expanduser().exists():
                link = self.scratch.joinpath(*place.parts[1:])
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(place.expanduser().resolve())

    def hear(self) -> bool:
        """Take the lines like `step 10 ... loss: 5.1` that were printed since; never ends the watch."""
        for step, loss in self.log.progress:
            self.meter.steps = max(self.meter.steps, step)
            self.report(step, loss)
        self.log.progress.clear()
        return False

    def spawn(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start the command in a session of its own. Raises Ended where it is not there."""
        try:
            return subprocess.Popen(
                self.command(),
                cwd=self.scratch,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self.log_write,
                stderr=self.log_write,
                start_new_session=True,
                preexec_fn=self.before_exec,  # noqa: PLW1509 - the harness has one thread
            )
        except OSError as error:
            what = f"cannot run {self.task.command[0]}: {error.strerror}"
            raise Ended(Outcome.CRASHED, f"{what}; install it, or correct `command` in task.toml") from None

    def metric(self) -> float:
        """The last value the task printed for its metric. Raises Ended where there is none."""
        value = self.log.numbers.get(self.task.metric)
        if value is None:
            raise Ended(Outcome.CRASHED, f"printed no line `{self.task.metric}: NUMBER`")
        if not math.isfinite(value):
            raise Ended(Outcome.DIVERGED, f"{self.task.metric} is {value}")
        return value

    def command(self) -> list[str]:
        """The task's command, shut in as far as this machine allows."""
        command = resolve_python(self.task.command)
        data = (str(self.data.resolve()),) if self.data else ()
        layout = self.layout(self.scratch, extra=(str(self.task.folder / ".venv"), *data))
        if self.probe.method == "namespaces":
            return [sys.executable, "-I", "-S", sandbox.__file__, layout.to_json(), "--", *command]
        if self.probe.method == "landlock":
            view = json.dumps(sandbox.landlock_view(layout))
            return [sys.executable, "-I", "-S", landlock.__file__, view, "--", *command]
        return sandbox.bubblewrap_argv(layout, command) if self.probe.method == "bubblewrap" else command

    def before_exec(self) -> None:
        sandbox.die_with_parent()
        sandbox.limit(cpu_seconds=self.meter.cpu_limit(), file_mb=FILE_MB)
