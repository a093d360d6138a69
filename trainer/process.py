"""Measures and kills a candidate's processes from outside: CPU-seconds, resident memory, life."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>
TICKS = os.sysconf("SC_CLK_TCK")  # kernel clock ticks a second
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
HAS_PROC = Path(f"/proc/self/task/{os.getpid()}/children").exists()


@dataclass(frozen=True, kw_only=True)
class _Member:
    """One process as it was at one moment."""

    pid: int
    own_seconds: float  # CPU of its own threads
    waited_seconds: float  # CPU of its children that ended and were waited for
    rss_mb: float  # resident, MiB
    queued_seconds: float = 0.0  # its threads could have run, and the machine was busy with others


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a family has used so far."""

    cpu_seconds: float  # of all members, dead ones too
    rss_mb: float  # resident now, summed over the living, MiB
    alive: int  # members


class Family:
    """All descendants of this process but the ones excluded. Orphans come back to it (Linux), so none gets away."""

    def __init__(self) -> None:
        self.excluded: set[int] = set()  # our own helpers: walked through, not counted
        self.peak_mb = 0.0
        self._queued: dict[int, float] = {}  # last seen seconds that every member ever met waited for a CPU
        self._cpu = 0.0
        self._own: dict[int, float] = {}  # last seen own CPU-seconds of every member ever met
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def sample(self) -> Usage:
        """Look now. CPU-seconds never fall from one sample to the next."""
        members = self._members()
        self._own.update({m.pid: m.own_seconds for m in members})
        self._queued.update({m.pid: m.queued_seconds for m in members})
        living = sum(m.own_seconds + m.waited_seconds for m in members)
        self._cpu = max(self._cpu, living, sum(self._own.values()))
        rss = sum(m.rss_mb for m in members)
        self.peak_mb = max(self.peak_mb, rss)
        return Usage(cpu_seconds=self._cpu, rss_mb=rss, alive=len(members))

    def queued_seconds(self) -> float:
        """How long the members waited for a CPU that others had, summed over all of them (Linux; else 0)."""
        return sum(self._queued.values())

    def kill(self, grace_seconds: float) -> None:
        """SIGTERM to all, SIGKILL to what is left after the grace, until nobody is."""
        self._signal_all(signal.SIGTERM)
        deadline = time.monotonic() + grace_seconds
        while self.sample().alive:
            if time.monotonic() >= deadline:
                self._signal_all(signal.SIGKILL)
            time.sleep(0.005)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # an orphan that came to us, or a child: none stays a zombie

    def _signal_all(self, number: signal.Signals) -> None:
        for member in self._members():
            with contextlib.suppress(ProcessLookupError):
                os.kill(member.pid, number)

    def _members(self) -> list[_Member]:
        found = _from_proc(os.getpid()) if HAS_PROC else _from_ps(os.getpid())
        return [m for m in found if m.pid not in self.excluded]


def _from_proc(root: int) -> list[_Member]:
    members, queue = [], _children(root)
    while queue:
        pid = queue.pop()
        try:
            values = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            queue += _children(pid)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if values[0] in "ZX":
            continue
        utime, stime, cutime, cstime = (int(v) / TICKS for v in values[11:15])
        members.append(
            _Member(
                pid=pid,
                own_seconds=utime + stime,
                waited_seconds=cutime + cstime,
                rss_mb=int(values[21]) * PAGE_MB,
                queued_seconds=_queued(pid),
            )
        )
    return members


def _queued(pid: int) -> float:
    """Seconds that a process's threads waited on a run queue: the second field of schedstat, in nanoseconds."""
    total = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += int((task / "schedstat").read_text(encoding="ascii").split()[1])
    return total / 1e9


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += (task / "children").read_text(encoding="ascii").split()
    return [int(p) for p in found]


def _from_ps(root: int) -> list[_Member]:
    """The same from `ps`, where there is no /proc; a child's CPU is lost once it has ended."""
    command = ["ps", "-A", "-o", "pid=,ppid=,rss=,time=,stat="]
    rows = [
        line.split() for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ]
    family, grew = {root}, True
    while grew:
        more = {int(r[0]) for r in rows if int(r[1]) in family} - family
        family |= more
        grew = bool(more)
    return [
        _Member(pid=int(r[0]), own_seconds=clock_seconds(r[3]), waited_seconds=0.0, rss_mb=int(r[2]) / 1024)
        for r in rows
        if int(r[0]) in family - {root} and not r[4].startswith("Z")
    ]


def clock_seconds(text: str) -> float:
    """Seconds of a time as `ps` writes it: [[days-]hours:]minutes:seconds[.hundredths]."""
    days, _, rest = text.rpartition("-")
    seconds = 0.0
    for part in rest.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds + 86400 * int(days or 0)
