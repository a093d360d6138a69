"""What a session's trials look like where they were sent, read back by each tool's own client."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from swarm.assemble.exporting import TARGETS, sink_of
from swarm.dossier import lineage_of
from swarm.exports.follow import Exporter, about
from swarm.home import Home
from swarm.research.knobs import read_knobs
from swarm.status import standing_of
from swarm.view import View
from tests.site import SESSION, copy_of, finished

pytestmark = [
    pytest.mark.slow,  # a session is made for them; the clients are large
    pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb"),
    pytest.mark.filterwarnings("ignore:The ``noload`` loader"),
]


@dataclass(kw_only=True)
class Found:
    """What is there; lists, so that a double shows."""

    values: list[tuple[str, float | None]] = field(default_factory=list)  # trial, score
    knobs: dict[str, dict[str, float]] = field(default_factory=dict)  # trial -> constants
    losses: dict[str, list[float]] = field(default_factory=dict)  # trial -> its curve
    gains: list[float] = field(default_factory=list)


def in_tensorboard(home: Path) -> Found:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = Found()
    for run in sorted((home / "exports" / "tensorboard" / SESSION).iterdir()):
        events = EventAccumulator(str(run)).Reload()
        scalars = {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        if run.name == "best":
            found.gains = scalars["loss"]
            continue
        plugin = HParamsPluginData.FromString(
            events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        )
        hparams = plugin.session_start_info.hparams
        found.knobs[run.name] = {name: hparams[name].number_value for name in "XYZ"}
        found.losses[run.name] = scalars.get("training loss", [])
        found.values += [(run.name, value) for value in scalars.get("loss", [None])]
    return found


def in_mlflow(home: Path) -> Found:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'exports' / 'mlflow.db'}")
    found = Found()
    place = client.get_experiment_by_name("bowl")
    assert place is not None
    for run in client.search_runs([place.experiment_id]):
        name = run.data.tags.get("nightswarm.trial")
        if name is None:
            found.gains = [metric.value for metric in client.get_metric_history(run.info.run_id, "best loss")]
            continue
        assert (run.info.status == "FINISHED") == ("loss" in run.data.metrics)
        found.values.append((name, run.data.metrics.get("loss")))
        found.knobs[name] = {knob: float(value) for knob, value in run.data.params.items()}
        curve = client.get_metric_history(run.info.run_id, "training loss")
        found.losses[name] = [point.value for point in sorted(curve, key=lambda point: point.step)]
    return found


def in_wandb(home: Path) -> Found:
    from wandb.proto.wandb_internal_pb2 import Record
    from wandb.sdk.internal.datastore import DataStore

    found = Found()
    for file in sorted((home / "exports" / "wandb").glob("*/wandb/offline-run-*/*.wandb")):
        name, config, summary, history = "", {}, {}, []
        store = DataStore()
        store.open_for_scan(str(file))
        while (data := store.scan_data()) is not None:
            record = Record.FromString(data)
            if record.HasField("run"):
                name = record.run.run_id
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            if record.HasField("history"):
                history.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item})
            if record.HasField("summary"):
                summary |= {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.summary.update}
        if name == f"{SESSION}-best":
            found.gains += [line["best loss"] for line in history if "best loss" in line]
            continue
        if name in found.knobs or not summary:
            continue  # of a sender that died; `wandb sync` makes one run of all files of an id
        found.values.append((name, summary.get("loss")))
        found.knobs[name] = {knob: config[knob] for knob in "XYZ"}
        found.losses[name] = [line["training loss"] for line in history if "training loss" in line]
    return found


def in_optuna(home: Path) -> Found:
    import optuna

    found = Found()
    for tier in ("screen", "validate"):
        study = optuna.load_study(study_name=f"{SESSION} {tier}", storage=f"sqlite:///{home / 'exports' / 'optuna.db'}")
        assert (study.direction, study.metric_names) == (optuna.study.StudyDirection.MINIMIZE, ["loss"])
        found.gains += study.user_attrs.get("gains", {}).values()
        for trial in study.trials:
            name = trial.user_attrs["nightswarm trial"]
            assert (trial.user_attrs["tier"], trial.state.name) == (tier, "COMPLETE" if trial.value else "FAIL")
            found.values.append((name, trial.value))
            found.knobs[name] = trial.params
    return found


READ: dict[str, Callable[[Path], Found]] = {
    "tensorboard": in_tensorboard,
    "mlflow": in_mlflow,
    "wandb": in_wandb,
    "optuna": in_optuna,
}


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    pytest.importorskip(request.param, reason=f"the extra nightswarm[{request.param}] is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose session was left right after its first kept gain: enough to send."""
    made = copy_of(finished(), tmp_path)
    with closing(sqlite3.connect(made / "ledger.db")) as ledger:
        gain = """SELECT min(seq) FROM events WHERE kind = 'moved' AND data ->> 'move' = 'confirm'"""
        ledger.execute(f"DELETE FROM events WHERE seq > ({gain})")
        ledger.commit()
    return made


def sent(target: str, home: Path, view: View) -> Exporter:
    place = Home(home, create=False)
    sink, _ = sink_of(target, about(view), place, None)
    with closing(sink):
        exporter = Exporter(place, view, sink)
        exporter.catch_up()
    return exporter


def equals_the_ledger(found: Found, home: Path, target: str) -> None:
    place = Home(home, create=False)
    with View(place, SESSION) as view:
        state = view.refresh().state
        trials = [trial for one in state.experiments.values() for trial in one.trials]
        lineage = lineage_of(place, view)
        knobs = {commit: read_knobs(lineage.source(commit)) for commit in {trial.candidate for trial in trials}}
        kept = [standing_of(state, state.experiments[name], minimize=True) for name in state.incumbents[1:]]
    # TensorBoard keeps single precision
    assert [name for name, _ in sorted(found.values)] == sorted(trial.id for trial in trials)
    assert dict(found.values) == pytest.approx({trial.id: trial.value for trial in trials}, rel=1e-6)
    assert found.knobs == {trial.id: pytest.approx(knobs[trial.candidate]) for trial in trials}
    assert len(found.gains) == len(kept) > 0
    if target != "optuna":
        assert all(len(losses) == 59 for losses in found.losses.values())
        assert found.losses[trials[0].id][0] == pytest.approx(5.0 / 1.05, abs=1.0)


def test_everything_is_there_once_however_often_it_is_sent_and_though_the_sender_died(target: str, home: Path) -> None:
    words = ["-c", "from swarm.cli import main; main()", "export", "--home", str(home), "--to", target]
    with View(Home(home, create=False), SESSION) as view:
        sink, _ = sink_of(target, about(view), Home(home, create=False), None)
        with closing(sink):
            first = subprocess.Popen([sys.executable, *words])
            while first.poll() is None and len(sink.known()) < 3:
                time.sleep(0.02)
            first.send_signal(signal.SIGKILL)
            first.wait()
    with View(Home(home, create=False), SESSION) as view:
        again = sent(target, home, view)
    assert again.there >= 3
    with View(Home(home, create=False), SESSION) as view:
        assert sent(target, home, view).sent == 0
    equals_the_ledger(READ[target](home), home, target)


def test_a_session_is_followed_as_it_goes(home: Path) -> None:
    with closing(sqlite3.connect(home / "ledger.db")) as ledger:
        later = ledger.execute("SELECT * FROM events WHERE seq > (SELECT max(seq) / 2 FROM events)").fetchall()
        ledger.execute("DELETE FROM events WHERE seq > (SELECT max(seq) / 2 FROM events)")
        ledger.commit()
        place = Home(home, create=False)
        with View(place, SESSION) as view, closing(sink_of("optuna", about(view), place, None)[0]) as sink:
            exporter = Exporter(place, view, sink)
            first = exporter.catch_up()
            assert 0 < first == len(sink.known())
            assert exporter.catch_up() == 0
            ledger.executemany(f"INSERT INTO events VALUES ({', '.join('?' * len(later[0]))})", later)
            ledger.commit()
            assert exporter.catch_up() > 0
    equals_the_ledger(in_optuna(home), home, "optuna")


def test_optunas_dashboard_shows_the_studies(home: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    with View(Home(home, create=False), SESSION) as view:
        sent("optuna", home, view)
    app = dashboard.wsgi(f"sqlite:///{home / 'exports' / 'optuna.db'}")
    with httpx.Client(transport=httpx.WSGITransport(app=app), base_url="http://localhost") as client:
        studies = {
            study["study_name"]: study["study_id"] for study in client.get("/api/studies").json()["study_summaries"]
        }
        assert set(studies) == {f"{SESSION} screen", f"{SESSION} validate"}
        shown = client.get(f"/api/studies/{studies[f'{SESSION} validate']}", params={"after": 0}).json()
    with View(Home(home, create=False), SESSION) as view:
        state = view.refresh().state
    scores = [trial.value for one in state.experiments.values() for trial in one.trials if trial.tier == "validate"]
    assert sorted(trial["values"][0] for trial in shown["trials"]) == pytest.approx(sorted(filter(None, scores)))
