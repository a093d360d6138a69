"""Keeps GPUs that others compute on from being leased: a shared GPU spoils every score made on it."""

from collections.abc import Callable

from swarm.errors import SwarmError
from swarm.leases.manager import LeaseManager
from swarm.ports import Gpus, Slot

HIDDEN_MB = 1024  # MiB that a free GPU may hold for nobody who can be seen: the driver's own, and a screen's


class Guard:
    """Looks at the GPUs of free slots; a slot that a stranger uses is unavailable until the stranger is gone.

    Nothing of ours is on a free slot: its last lease ended when its trial was confirmed dead.
    """

    def __init__(self, manager: LeaseManager, gpus: Gpus, say: Callable[[str], None]) -> None:
        self._manager = manager
        self._gpus = gpus
        self._say = say  # one line of progress for a person
        self._blind: set[str] = set()  # slots of whose GPU the driver does not tell

    def look(self) -> None:
        """Look at all free slots; call it before leases are granted. Blocking."""
        for state in self._manager.slots():
            if state.slot.device is None or state.lease is not None:
                continue
            if not state.offered and state.unavailable is None:
                continue  # no longer registered
            why = self._stranger(state.slot, state.slot.device)
            if (why is None) != (state.unavailable is None):
                self._manager.set_unavailable(state.slot.name, why)
                self._say(f"{state.slot.name} is {'free again' if why is None else f'not used: {why}'}")

    def _stranger(self, slot: Slot, device: int) -> str | None:
        """Who uses a slot's GPU, in words; None: nobody, or nobody knows."""
        try:
            use = self._gpus.use(device)
        except SwarmError as error:
            if slot.name not in self._blind:
                self._say(f"{slot.name} is used without looking for others on it: {error}")
            self._blind.add(slot.name)
            return None
        if use.computing:
            whose = ", ".join(map(str, use.computing))
            return f"GPU {device} is used by process{'es' if len(use.computing) > 1 else ''} {whose}"
        if use.held_mb > HIDDEN_MB:
            return f"{use.held_mb:,} MiB of GPU {device} are held by a process that cannot be seen from here"
        return None
