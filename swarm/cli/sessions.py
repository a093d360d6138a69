"""status, stop, pause, resume, leases: what a session does, and what people wish it would."""

import time
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import HOME, AsJson, InHome, SessionName
from swarm.cli.output import paged, print_json, print_table

if TYPE_CHECKING:
    from swarm.leases.lease import SlotState, Waiting


def status(session: SessionName = None, as_json: AsJson = False, home: InHome = HOME) -> None:
    """Show where a session stands."""
    from swarm.home import Home
    from swarm.view import View

    with View(Home(home, create=False), session) as view:
        found = view.refresh().status()
        if as_json:
            print_json(found)
        else:
            _print_status(found, view.metric)


def _print_status(found: dict[str, Any], metric: str) -> None:
    from swarm.wording import duration, fates, hidden_shard, improvement, plain, score, share

    print(f"{found['session']}: {found['state']}, task {found['task']}, {duration(found['elapsed_seconds'])} worked")
    if found["reason"]:
        print(f"why          {plain(found['reason'])}")
    if (incumbent := found["incumbent"]) is not None:
        print(f"best         {incumbent['experiment']}: {metric} {score(incumbent['value'], incumbent['ci95'])}")
        print(f"             {improvement(incumbent)}")
    if found["holdout"]:
        print(f"hidden shard {hidden_shard(found['holdout'])}")
    if found["baseline"]:
        print("baseline     " + ", ".join(f"{plain(tier)} {mean:.4f}" for tier, mean in found["baseline"].items()))
    if found["noise"]:
        print("noise sd     " + ", ".join(f"{plain(tier)} {sd:.4f}" for tier, sd in found["noise"].items()))
    print(f"experiments  {fates(found['counts'])}")
    if (plateau := found["plateau"]) is not None:
        print(f"plateau      no gain was confirmed in the last {plateau['experiments']} experiments")
    print(
        f"slots        {found['gpu_hours']:.2f} slot-hours, ${found['dollars']:.2f}, busy {share(found['occupancy'])}"
    )
    for author, spent in found["models"].items():
        counted = "about " if spent["estimated"] else ""
        told = f" — {plain(spent['told'])}" if spent["told"] else ""
        used = f"{counted}{spent['tokens']:,} tokens, ${spent['dollars']:.2f}"
        print(f"{plain(author):<12} {spent['calls']} answer{'s' * (spent['calls'] != 1)}, {used}{told}")
    if (reviewer := found["reviewer"]) is not None:
        precision = "" if reviewer["precision"] is None else f", right about {reviewer['right']} of {reviewer['over']}"
        print(
            f"reviewer     judged {reviewer['judged']}, turned down {reviewer['turned_down']}, "
            f"of which {reviewer['sampled']} ran as a sample{precision}"
        )


def stop(
    session: SessionName = None,
    now: Annotated[bool, typer.Option("--now", help="End running trials too; they run again when resumed.")] = False,
    home: InHome = HOME,
) -> None:
    """End a running session once its running trials have ended."""
    _wish(
        home, session, "stop-now" if now else "stop", "stops now" if now else "stops when its running trials have ended"
    )


def pause(session: SessionName = None, home: InHome = HOME) -> None:
    """Keep a running session from starting new trials."""
    _wish(home, session, "pause", "starts no new trials; `swarm resume` lets it go on")


def resume(session: SessionName = None, home: InHome = HOME) -> None:
    """Let a paused session go on."""
    _wish(home, session, "resume", "goes on")


def _wish(home: Any, session: str | None, wish: str, told: str) -> None:
    from swarm.errors import InputError
    from swarm.home import Home
    from swarm.research.ledger import Ledger
    from swarm.view import View

    place = Home(home, create=False)
    with View(place, session) as view:
        name, live = view.state.session, view.refresh().live
    if not live:
        raise InputError(f"session {name} is not running; `swarm start --session {name}` resumes it")
    with closing(Ledger(place.ledger)) as ledger:
        ledger.wish(name, wish, time.time())
    print(f"{name} {told}")


@paged
def leases(as_json: AsJson = False, home: InHome = HOME) -> None:
    """Show the slots, who holds them and who waits for one."""
    from swarm.home import Home
    from swarm.leases.manager import LeaseManager
    from swarm.ports import SystemClock

    clock = SystemClock()
    with closing(LeaseManager(Home(home, create=False).leases, clock)) as manager:
        slots = [_slot(state, clock.now()) for state in manager.slots()]
        queue = [_waiting(waiting) for waiting in manager.queue()]
    if as_json:
        print_json({"slots": slots, "queue": queue})
        return
    print_table(
        ("slot", "accelerator", "steps/s", "$/h", "trial", "next in line", "tier", "holder", "held"),
        [
            (
                *(s["slot"], s["accelerator"], _figure(s["steps_per_second"]), _figure(s["price_per_hour"] or None)),
                *(s["trial"] or s["unavailable"] or "free", s["next"] or ""),
                *(s["tier"], s["holder"], _seconds(s["held_seconds"])),
            )
            for s in slots
        ],
        empty="no slots are registered yet; `swarm start` registers those of this machine",
    )
    print()
    print_table(
        ("waits for a slot", "tier", "holder", "bid", "waited"),
        [(w["trial"], w["tier"], w["holder"], f"{w['bid']:+.4f}", _seconds(w["waited_seconds"])) for w in queue],
        empty="nobody waits for a slot",
    )


def _slot(state: "SlotState", now: float) -> dict[str, Any]:
    lease = state.lease
    return {
        "slot": state.slot.name,
        "accelerator": state.slot.accelerator,
        "steps_per_second": state.steps_per_second,
        "price_per_hour": state.slot.price_per_hour,
        "offered": state.offered,
        "session": lease and lease.session,
        "holder": lease and lease.holder,
        "tier": lease and lease.tier,
        "trial": lease and lease.request_id,
        "next": state.next and state.next.request_id,
        "unavailable": state.unavailable,
        "held_seconds": lease and now - lease.granted_at,
        "expires_in_seconds": lease and lease.expires_at - now,
    }


def _waiting(waiting: "Waiting") -> dict[str, Any]:
    return {
        "trial": waiting.request_id,
        "session": waiting.session,
        "holder": waiting.holder,
        "tier": waiting.tier,
        "bid": waiting.bid,
        "waited_seconds": waiting.waited,
    }


def _figure(number: float | None) -> str:
    return "" if number is None else f"{number:.3g}"


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.0f} s"
