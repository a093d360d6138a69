"""TensorBoard: one run a trial with its loss curve, score and constants, and one run of the kept gains.

Each run's event file is written elsewhere and put in its place whole, so that what is there is complete.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from swarm.exports.told import About, GainTold, TrialTold

_FILE = re.compile(r"events\.out\.tfevents\.\d+\.(.+)")


class TensorBoardSink:
    """A Sink (see told): a log folder for ``tensorboard --logdir``."""

    def __init__(self, about: About, folder: Path) -> None:
        self._about = about
        self._folder = folder / about.session

    def known(self) -> set[str]:
        found = (_FILE.fullmatch(path.name) for path in self._folder.glob("*/events.out.tfevents.*"))
        return {match.group(1) for match in found if match}

    def trial(self, told: TrialTold) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        trial = told.trial
        ended, last = trial.ended_at or trial.started_at, trial.steps or 0
        group = f"{trial.experiment} {trial.tier}"  # trials that differ in their seed alone
        settings = hparams_pb({**told.knobs, "tier": trial.tier}, group, trial.started_at)
        events = [Event(wall_time=trial.started_at, summary=settings)]
        events += [
            _scalar("training loss", p["loss"], int(p["step"]), trial.started_at + p["seconds"]) for p in told.curve
        ]
        events += [_scalar(name, value, last, ended) for name, value in told.measured(self._about.metric).items()]
        self._write(trial.id, trial.id, ended, events)

    def gain(self, told: GainTold) -> None:
        self._write("best", told.experiment, told.at, [_scalar(self._about.metric, told.value, told.number, told.at)])

    def close(self) -> None:
        return

    def _write(self, run: str, name: str, at: float, events: Sequence[Any]) -> None:
        """An event file of one run that appears whole; files of a run sort as their events happened."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        with TemporaryDirectory() as elsewhere:
            writer = EventFileWriter(elsewhere)
            for event in events:
                writer.add_event(event)
            writer.close()
            written = next(Path(elsewhere).iterdir()).read_bytes()
        folder = self._folder / run
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / "part"  # TensorBoard looks only at names with "tfevents" in them
        part.write_bytes(written)
        part.rename(folder / f"events.out.tfevents.{int(at * 1000):013d}.{name}")


def _scalar(tag: str, value: float, step: int, at: float) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Event(wall_time=at, step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))
