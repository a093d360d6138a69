"""What the first page shows of a session, part by part: each is drawn anew only when it changed."""

from dataclasses import dataclass
from typing import Any

from notebook_store.notebook import Notebook
from swarm.dashboard import KINDS
from swarm.leases.lease import SlotState
from swarm.research.experiment import Status
from swarm.status import LIVE, Json, standing_of
from swarm.view import View
from swarm.web.drawing import Picture
from swarm.web.progress import progress
from swarm.web.timeline import RECENT_SECONDS, timeline
from swarm.wording import at_work, tail

PARTS = ("standing", "gains", "slots", "funnel", "budgets", "voices", "agents", "waiting", "entries", "acts")
TIERS = ("validate", "screen")
_ENTRIES = 12
_AUTHORS = ("proposer", "reviewer", "reader", "analyst", "referee")
_SAID = 160  # characters of what one specialist says
_GAINS = 12  # newest kept gains that are told


@dataclass(frozen=True, kw_only=True)
class Overview:
    """One look at a session."""

    key: str  # changes whenever anything that is shown did
    facts: dict[str, Any]  # what the templates of the parts need
    pictures: tuple[Picture, ...]


def glance(view: View, status: Json) -> str:
    """A few words that change whenever the overview does; costs little."""
    newest = view.entries(1, KINDS)
    leases = ",".join(str(slot.lease.token) if slot.lease else "-" for slot in view.slots())
    words = (view.state.seq, newest[0].id if newest else "", status["state"], view.phase(), leases, len(view.queue()))
    return "|".join(map(str, words))


def overview(view: View, notebook: Notebook | None, by: str) -> Overview:
    """Everything on the first page, as of now."""
    status = view.status()
    slots = view.slots()
    entries = view.entries(_ENTRIES, KINDS)
    pictures = [progress(view, tier, by) for tier in TIERS]
    live = status["state"] in LIVE
    facts = {
        "view": view,
        "state": view.state,
        "session": view.state.session,
        "status": status,
        "live": live,
        "ticking": status["state"] in ("running", "paused", "draining"),
        "phase": view.phase() if live else "",
        "best": _best(view, status),
        "gains": _gains(view),
        "slots": [_slot(view, slot) for slot in slots],
        "queued": len(view.queue()),
        "funnel": _funnel(view, status),
        "budgets": _budgets(view, status),
        **heard(view, status),
        "agents": _agents(view, notebook, live=live),
        "held": view.state.of_status(Status.HELD),
        "entries": entries,
    }
    drawn = [picture for picture in pictures if picture is not None]
    if view.state.experiments:
        drawn.append(timeline(view, slots, seconds=RECENT_SECONDS))
    return Overview(key=glance(view, status), facts=facts, pictures=tuple(drawn))


def heard(view: View, status: Json) -> dict[str, Any]:
    """What those who think are at and say now: the facts of the part that changes oftener than all else."""
    voices = view.voices() if status["state"] in LIVE else []
    told = [{"author": v.author, "doing": at_work(v.doing), "said": tail(v.said, _SAID)} for v in voices]
    return {"voices": told}


def _best(view: View, status: Json) -> Json | None:
    incumbent = status["incumbent"]
    if incumbent is None or incumbent["value"] is None:
        return None
    return {**incumbent, "what": view.state.experiments[incumbent["experiment"]]}


def _gains(view: View) -> list[Json]:
    """Kept gains, newest first, each with what it was worth when it was confirmed."""
    found = []
    for name in view.state.incumbents[:0:-1][:_GAINS]:
        one = view.state.experiments[name]
        standing = standing_of(view.state, one, minimize=view.minimize)
        found.append({"one": one, "standing": standing, "at": view.state.confirmed_at.get(name)})
    return found


def _slot(view: View, slot: SlotState) -> Json:
    lease = slot.lease
    trial = view.state.live_trials.get(lease.request_id) if lease else None
    return {
        "name": slot.slot.name,
        "accelerator": slot.slot.accelerator,
        "unavailable": slot.unavailable,
        "lease": lease,
        "trial": trial,
        "usual": view.typical_seconds(lease.tier) if lease else None,
        "elsewhere": lease is not None and lease.session != view.state.session,
    }


def _funnel(view: View, status: Json) -> list[Json]:
    counts = status["counts"]
    screened = sum(any(t.ended_at for t in one.trials) for one in view.state.experiments.values())
    stages = [
        ("proposed", counts["proposed"]),
        ("screened", screened - (1 if view.state.experiments and view.state.baseline.trials else 0)),
        ("promoted", counts["promoted"]),
        ("confirmed", counts["confirmed"]),
    ]
    most = max(1, stages[0][1])
    return [{"name": name, "count": max(0, count), "share": max(0, count) / most} for name, count in stages]


def _budgets(view: View, status: Json) -> list[Json]:
    """What was given, what is used: name, used, limit or None, unit."""
    limits = view.limits
    return [
        {"name": "hours", "used": status["elapsed_seconds"] / 3600, "limit": limits.hours, "digits": 2},
        {"name": "experiments", "used": view.state.begun(), "limit": limits.experiments, "digits": 0},
        {"name": "slot-hours", "used": status["gpu_hours"], "limit": limits.gpu_hours, "digits": 2},
        {"name": "dollars", "used": status["dollars"], "limit": limits.dollars, "digits": 2},
        {"name": "tokens", "used": status["tokens"], "limit": None, "digits": 0},
    ]


def _agents(view: View, notebook: Notebook | None, *, live: bool) -> list[Json]:
    """Who is at work: what each does now, and the last page it wrote."""
    proposers = {one.author for one in view.state.experiments.values()} | view.state.spent.keys()
    proposers -= {"baseline", *_AUTHORS}
    doing = view.state.told | _doing(view) if live else {}
    found = []
    for name in (*sorted(proposers), *_AUTHORS):
        mine = notebook.entries(limit=1, author=name, session=view.state.session) if notebook is not None else []
        found.append({"name": name, "doing": doing.get(name, ""), "last": mine[0] if mine else None})
    return found


def _doing(view: View) -> dict[str, str]:
    """What the state tells of each specialist's work."""
    state = view.state
    waiting = state.count(Status.PROPOSED, Status.HELD, Status.APPROVED)
    told = {"proposer": f"keeps {waiting} experiments ready" if waiting else "thinks of experiments"}
    proposed = state.of_status(Status.PROPOSED)
    told["reviewer"] = f"reviews {len(proposed)} proposals" if proposed else "waits for a proposal"
    told["reader"] = "reads on the factors in play"
    unread = [wave for wave in state.waves.values() if wave.entry is None]
    if unread:
        name = unread[0].name
        members = [one for one in state.experiments.values() if one.wave == name]
        done = sum(one.is_final or one.status in (Status.PROMOTED, Status.VALIDATING) for one in members)
        told["analyst"] = f"waits for {name}: {done} of {len(members)} screened"
    else:
        told["analyst"] = "waits for a wave"
    validating = state.count(Status.VALIDATING)
    told["referee"] = f"validates {validating} against the incumbent" if validating else "watches the screening"
    return told
