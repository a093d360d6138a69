"""Candidates in memory, for simulated sessions: thousands of them cost no git process."""

import difflib
import hashlib
from collections.abc import Mapping

from swarm.errors import SwarmError
from swarm.research.lineage import merged


class MemoryCandidates:
    """A CandidateStore (see ports) that lives as long as the object does."""

    def __init__(self, editable: str) -> None:
        """``editable`` names the candidate's file in diffs."""
        self._editable = editable
        self._sources: dict[str, str] = {}  # commit -> file
        self.best: str | None = None  # commit

    def commit(
        self,
        name: str,
        source: str,
        message: str,
        *,
        parent: str | None,
        at: float,
        files: Mapping[str, str] | None = None,
    ) -> str:
        del at, files  # only a checkout would need them, and nobody checks out a simulated candidate
        told = "\0".join((name, parent or "", message, source))
        commit = hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()
        self._sources[commit] = source
        return commit

    def source(self, commit: str) -> str:
        if commit not in self._sources:
            raise SwarmError(f"no candidate {commit} is known")
        return self._sources[commit]

    def set_best(self, commit: str) -> None:
        self.best = commit

    def diff(self, old: str, new: str) -> str:
        before, after = (self.source(commit).splitlines(keepends=True) for commit in (old, new))
        return "".join(difflib.unified_diff(before, after, f"a/{self._editable}", f"b/{self._editable}"))

    def merge(self, base: str, ours: str, theirs: str) -> str | None:
        return merged(base, ours, theirs)

    def pack(self) -> None:
        """Nothing to do."""
