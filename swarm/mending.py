"""What dead processes left in a home, and how it is put in order without losing anything."""

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from notebook_store.errors import IndexBroken, NoNotebook
from notebook_store.notebook import Notebook
from notebook_store.server import ADDRESS_FILE
from notebook_store.setup import kept_setup
from swarm.executors.local import LocalExecutor
from swarm.executors.sky.cloud import OpenCloud
from swarm.executors.sky.registry import Registry, tear_down
from swarm.executors.sky.sdk import SkySdk
from swarm.home import Home
from swarm.leases.lease import Lease
from swarm.leases.manager import LeaseManager
from swarm.ports import SystemClock
from trainer.contract import harness_alive


def stale_notes(home: Home) -> list[Path]:
    """Files in which dead processes say that they live."""
    live = {home.session(name) / "work.json" for name in home.at_work()}
    if home.is_owned():
        live |= {home.root / "owner.json", home.notebook / ADDRESS_FILE}
    there = [
        *home.root.glob("sessions/*/work.json"),
        *home.root.glob("owner.json"),
        *home.notebook.glob(ADDRESS_FILE),
    ]
    return [path for path in there if path not in live]


def scratch(home: Home) -> list[Path]:
    """Scratch folders of trials and preflights that nothing works in any more."""
    live = home.at_work()
    trials = [path for path in home.root.glob("sessions/*/trials/*/work") if not harness_alive(path.parent)]
    first_steps = home.root.glob("sessions/*/preflight/*")
    return [*trials, *(path for path in first_steps if path.parents[1].name not in live and not harness_alive(path))]


def held_by_the_dead(home: Home, manager: LeaseManager) -> list[Lease]:
    """Leases of sessions that no process works on."""
    live = home.at_work()
    return [lease for lease in manager.live() if lease.session not in live]


def mend(home: Home, sky: OpenCloud = SkySdk) -> Iterator[str]:
    """Put in order what needs no decision; one line for each thing done. Raises HomeBusy, CloudError, NotebookError."""
    for path in stale_notes(home):
        path.unlink(missing_ok=True)
        yield f"removed {path.relative_to(home.root)}, left by a process that is gone"
    if home.leases.exists():
        with closing(LeaseManager(home.leases, SystemClock())) as manager:
            for lease in held_by_the_dead(home, manager):
                asyncio.run(LocalExecutor(home.session(lease.session) / "trials", home.root).cancel(lease.request_id))
                manager.reclaim(lease.token)
                yield f"ended trial {lease.request_id} of session {lease.session}: it runs again when that is resumed"
    for path in scratch(home):
        shutil.rmtree(path, ignore_errors=True)
        yield f"removed scratch {path.relative_to(home.root)}"
    yield from _clusters(home, sky)
    if not home.is_owned():
        with home.owned():
            yield from _indexes(home)


def _clusters(home: Home, sky: OpenCloud) -> Iterator[str]:
    registry = Registry(home.clusters)
    for record in registry.all():
        if record.session not in home.at_work():
            tear_down(sky(None), registry, record.cluster)
            yield f"{record.cluster} is torn down"


def _indexes(home: Home) -> Iterator[str]:
    """Make the notebook's indexes anew where they do not say what its log says."""
    setup = kept_setup(home.notebook)
    try:
        Notebook.read(home.notebook).close()
    except NoNotebook:
        return
    try:
        with Notebook.open(home.notebook, embedder=setup.embedder(), chroma_url=setup.chroma_url) as notebook:
            if notebook.check().clean:
                return
            notebook.reindex()
    except IndexBroken:
        with Notebook.open(
            home.notebook, embedder=setup.embedder(), chroma_url=setup.chroma_url, rebuild=True
        ) as notebook:
            notebook.flush()
    yield "made the notebook's indexes anew"
