"""Which kind of accelerator serves which tier where the user leaves it open."""

from dataclasses import replace
from pathlib import Path

from swarm.leases.lease import Tier
from swarm.leases.manager import LeaseManager
from swarm.leases.picking import Accelerators, picked
from swarm.ports import Slot
from tests.fakes import FakeClock

SCREEN, VALIDATE = Tier(name="screen"), Tier(name="validate", priority=10)
H100 = Accelerators(name="H100", slots=13, price_per_hour=0.0, steps_per_second=None)
H200 = Accelerators(name="H200", slots=3, price_per_hour=0.0, steps_per_second=None)


def chosen(*kinds: Accelerators) -> dict[str, tuple[str, ...]]:
    return {tier.name: tier.accelerators for tier in picked([SCREEN, VALIDATE], kinds)}


def test_one_kind_does_everything() -> None:
    assert chosen(H100) == {"screen": ("H100",), "validate": ("H100",)}


def test_the_scarce_validate_and_the_many_screen_when_nothing_else_is_known() -> None:
    assert chosen(H100, H200) == {"screen": ("H100", "H200"), "validate": ("H200",)}


def test_the_dear_validate_before_speeds_are_known() -> None:
    dear = replace(H100, price_per_hour=9.0)
    assert chosen(dear, H200) == {"screen": ("H200", "H100"), "validate": ("H100",)}


def test_measured_speed_decides_once_all_are_measured() -> None:
    fast = replace(H100, steps_per_second=4.0)
    assert chosen(fast, H200)["validate"] == ("H200",)
    assert chosen(fast, replace(H200, steps_per_second=3.0))["validate"] == ("H100",)


def test_screening_prefers_the_cheapest_step() -> None:
    kinds = [
        Accelerators(name="A10", slots=4, price_per_hour=1.0, steps_per_second=1.0),
        Accelerators(name="H100", slots=4, price_per_hour=3.0, steps_per_second=6.0),
        Accelerators(name="H200", slots=1, price_per_hour=4.0, steps_per_second=7.0),
    ]
    assert chosen(*kinds) == {"screen": ("H100", "A10", "H200"), "validate": ("H200",)}


def test_what_the_user_names_stays() -> None:
    named = replace(SCREEN, accelerators=("H200",))
    tiers = picked([named, VALIDATE], [H100, H200])
    assert [tier.accelerators for tier in tiers] == [("H200",), ("H200",)]


def test_the_manager_picks_by_what_it_measured(tmp_path: Path) -> None:
    slots = [Slot(name="a", accelerator="H100"), Slot(name="b", accelerator="H100"), Slot(name="c", accelerator="H200")]
    manager = LeaseManager(tmp_path / "leases.db", FakeClock())
    manager.register(slots, [SCREEN, VALIDATE])
    assert (manager.kinds("screen"), manager.kinds("validate")) == (("H100", "H200"), ("H200",))
    for name, speed in (("a", 4.0), ("b", 4.0), ("c", 3.0), ("c", 3.2)):
        manager.note_speed(name, speed)
    assert manager.kinds("validate") == ("H200",)  # a session keeps to what it began with
    manager.register(slots, [SCREEN, VALIDATE])
    assert (manager.kinds("screen"), manager.kinds("validate")) == (("H200", "H100"), ("H100",))
    manager.set_unavailable("c", "no capacity")
    assert manager.kinds("screen") == ("H100", "H200")
    manager.close()
