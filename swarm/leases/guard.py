"""Keeps GPUs that others compute on from being leased: a shared GPU spoils every score made on it."""

from collections.abc import Callable, Collection

from swarm.errors import SwarmError
from swarm.leases.manager import LeaseManager
from swarm.ports import Gpus, Slot

HIDDEN_MB = 1024  # MiB that a free GPU may hold for nobody who can be seen: the driver's own, and a screen's


class Guard:
    """Looks at the GPUs of slots; one that a stranger uses is unavailable until the stranger is gone.

    Nothing of ours is on a free slot: its last lease ended when its trial was confirmed dead. On a slot under lease
    everybody is a stranger who is not ``ours``; what runs there runs on, and nobody is put in line behind it.
    """

    def __init__(
        self, manager: LeaseManager, gpus: Gpus, say: Callable[[str], None], *, ours: Callable[[], Collection[int]]
    ) -> None:
        self._manager = manager
        self._ours = ours  # ids of this swarm's own processes
        self._gpus = gpus
        self._say = say  # one line of progress for a person
        self._blind: set[str] = set()  # slots of whose GPU the driver does not tell

    def look(self) -> None:
        """Look at all slots; call it before leases are granted. Blocking."""
        for state in self._manager.slots():
            if state.slot.device is None:
                continue
            if not state.offered and state.unavailable is None:
                continue  # no longer registered
            why = self._stranger(state.slot, state.slot.device, leased=state.lease is not None)
            if (why is None) != (state.unavailable is None):
                self._manager.set_unavailable(state.slot.name, why)
                self._say(f"{state.slot.name} is {'free again' if why is None else f'not used: {why}'}")

    def _stranger(self, slot: Slot, device: int, *, leased: bool) -> str | None:
        """Who uses a slot's GPU, in words; None: nobody, or nobody knows."""
        try:
            use = self._gpus.use(device)
        except SwarmError as error:
            if slot.name not in self._blind:
                self._say(f"{slot.name} is used without looking for others on it: {error}")
            self._blind.add(slot.name)
            return None
        computing = sorted(set(use.computing) - set(self._ours())) if leased and use.computing else use.computing
        if computing:
            whose = ", ".join(map(str, computing))
            return f"GPU {device} is used by process{'es' if len(computing) > 1 else ''} {whose}"
        if not leased and use.held_mb > HIDDEN_MB:
            return f"{use.held_mb:,} MiB of GPU {device} are held by a process that cannot be seen from here"
        return None
