"""Experiments by id, those that are over kept packed: a session of weeks has tens of thousands. Pure."""

import pickle
import zlib
from collections.abc import Iterator, Mapping

from swarm.research.experiment import Experiment, changed


class Shelf(Mapping[str, Experiment]):
    """Experiments in the order of their proposal. What was shelved takes a tenth of the memory and a moment to read."""

    def __init__(self) -> None:
        self._all: dict[str, Experiment | bytes] = {}
        self._typical = b""  # the first one shelved, pickled: all are packed by what they share with it

    def put(self, experiment: Experiment) -> None:
        """Add an experiment, or replace the one of its id."""
        self._all[experiment.id] = experiment

    def shelve(self, name: str) -> None:
        """Pack an experiment that will hardly change any more."""
        plain = pickle.dumps(changed(self[name]), protocol=pickle.HIGHEST_PROTOCOL)
        self._typical = self._typical or plain
        packer = zlib.compressobj(9, zdict=self._typical)
        self._all[name] = packer.compress(plain) + packer.flush()

    def __getitem__(self, name: str) -> Experiment:
        kept = self._all[name]
        if isinstance(kept, Experiment):
            return kept
        plain = zlib.decompressobj(zdict=self._typical).decompress(kept)
        found: Experiment = pickle.loads(plain)  # noqa: S301 - packed above, never leaves the process
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._all)

    def __len__(self) -> int:
        return len(self._all)
