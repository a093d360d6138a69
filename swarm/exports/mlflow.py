"""MLflow: an experiment a task, in it a run a session, and below that a run a trial."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from swarm.exports.told import About, GainTold, TrialTold
from swarm.research.experiment import Knob

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

_SESSION, _TRIAL, _GAIN = "nightswarm.session", "nightswarm.trial", "nightswarm.gain."  # tags
_PARENT = "mlflow.parentRunId"  # the tag by which MLflow shows one run below another
_METRICS, _PARAMS = 1000, 100  # that one call may carry
_LONGEST = 5000  # characters of a tag


class MlflowSink:
    """A Sink (see told): a tracking server, or a local store, by its URI."""

    def __init__(self, about: About, uri: str) -> None:
        from mlflow.tracking import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self._about = about
        self._client: MlflowClient = MlflowClient(tracking_uri=uri)
        known = self._client.get_experiment_by_name(about.task)
        self._place = known.experiment_id if known else self._client.create_experiment(about.task)
        parents = self._client.search_runs([self._place], f"tags.`{_SESSION}` = '{about.session}'", max_results=1)
        self._parent = parents[0].info.run_id if parents else self._begun(about.session, {_SESSION: about.session})
        self._open: dict[str, str] = {}  # trial -> run that was begun and not ended: its sender died

    def known(self) -> set[str]:
        trials = {run.data.tags[_TRIAL]: run.info for run in self._below()}
        self._open = {name: info.run_id for name, info in trials.items() if info.status == "RUNNING"}
        tags = self._client.get_run(self._parent).data.tags
        gains = {name.removeprefix(_GAIN) for name in tags if name.startswith(_GAIN)}
        return gains | (trials.keys() - self._open.keys())

    def trial(self, told: TrialTold) -> None:
        trial, metric = told.trial, self._about.metric
        tags = {_PARENT: self._parent, _TRIAL: trial.id} | {
            name: str(value)[:_LONGEST] for name, value in told.facts.items()
        }
        run = self._open.pop(trial.id, None) or self._begun(trial.id, tags, trial.started_at)
        ended, last = trial.ended_at or trial.started_at, trial.steps or 0
        metrics = [
            _metric("training loss", p["loss"], int(p["step"]), trial.started_at + p["seconds"]) for p in told.curve
        ]
        metrics += [_metric(name, value, last, ended) for name, value in told.measured(metric).items()]
        self._log(run, metrics, told.knobs)
        self._client.set_terminated(run, "FINISHED" if trial.completed else "FAILED", end_time=int(ended * 1000))

    def gain(self, told: GainTold) -> None:
        self._log(self._parent, [_metric(f"best {self._about.metric}", told.value, told.number, told.at)], {})
        self._client.set_tag(self._parent, f"{_GAIN}{told.experiment}", f"{told.value:.6g}")

    def close(self) -> None:
        self._client.set_terminated(self._parent, "FINISHED")

    def _begun(self, name: str, tags: dict[str, str], at: float | None = None) -> str:
        """Begin a run; its id."""
        start = None if at is None else int(at * 1000)
        return str(self._client.create_run(self._place, start_time=start, tags=tags, run_name=name).info.run_id)

    def _below(self) -> "Iterator[Run]":
        token: str | None = ""
        while token is not None:
            found = self._client.search_runs(
                [self._place], f"tags.`{_PARENT}` = '{self._parent}'", max_results=1000, page_token=token or None
            )
            yield from found
            token = found.token or None

    def _log(self, run: str, metrics: "Sequence[Metric]", params: Mapping[str, Knob]) -> None:
        from mlflow.entities import Param

        told = [Param(name, str(value)) for name, value in params.items()]
        for n in range(max(-(-len(metrics) // _METRICS), -(-len(told) // _PARAMS))):
            self._client.log_batch(
                run,
                metrics=metrics[n * _METRICS : (n + 1) * _METRICS],
                params=told[n * _PARAMS : (n + 1) * _PARAMS],
            )


def _metric(name: str, value: float, step: int, at: float) -> "Metric":
    from mlflow.entities import Metric

    return Metric(name, value, int(at * 1000), step)
