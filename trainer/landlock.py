"""Shuts hostile code in as far as Linux's Landlock does it, where neither namespaces nor bubblewrap are allowed.

Files: only what the layout names can be read, only scratch can be written. TCP is refused. Not so: UDP, and seeing that
other processes are there. That is a `partial` sandbox; containers that forbid namespaces often allow it.
Interface: https://docs.kernel.org/userspace-api/landlock.html, ABI 4 (Linux 6.7) or later.

    python trainer/landlock.py VIEW_JSON -- COMMAND...     run COMMAND inside, exec'd in place
    python trainer/landlock.py probe                         exit 0 where that works

Standard library only, and nothing of this package: it is run by its path.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Constants from <linux/landlock.h>; system calls have the same number on every architecture.
SYS_CREATE_RULESET, SYS_ADD_RULE, SYS_RESTRICT_SELF = 444, 445, 446
CREATE_RULESET_VERSION, RULE_PATH_BENEATH = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE, IOCTL_DEV = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14, 1 << 15
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV  # rights that a file, not a folder, can have
READ = EXECUTE | READ_FILE | READ_DIR
ALL_TCP = 0b11  # bind and connect
SCOPED = 0b11  # abstract Unix sockets and signals to the outside (ABI 6)
NEEDED_ABI = 4
PR_SET_NO_NEW_PRIVS = 38


def abi() -> int:
    """The kernel's Landlock version; 0 or less where there is none."""
    return int(_libc().syscall(SYS_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(CREATE_RULESET_VERSION)))


def restrict(view: Mapping[str, Any]) -> None:
    """Shut this process in for good, as sandbox.landlock_view says. Raises OSError where that fails."""
    version = abi()
    if version < NEEDED_ABI:
        raise OSError(f"Landlock ABI {max(version, 0)}, and {NEEDED_ABI} is needed (Linux 6.7)")
    everything = (1 << (16 if version >= 5 else 15)) - 1
    attributes = (ctypes.c_uint64 * 3)(everything, ALL_TCP, SCOPED)
    size = ctypes.c_size_t(24 if version >= 6 else 16)
    ruleset = _check(_libc().syscall(SYS_CREATE_RULESET, ctypes.byref(attributes), size, ctypes.c_uint32(0)))
    hidden = [Path(path) for path in view["hidden"]]
    for path in view["readable"]:
        for part in _visible(Path(path), hidden):
            _allow(ruleset, part, READ)
    for device in view["devices"]:
        _allow(ruleset, Path(device), (OF_FILES | READ) & everything)
    _allow(ruleset, Path(view["scratch"]), everything)
    _check(_libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check(_libc().syscall(SYS_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0)))
    os.close(ruleset)


def _visible(path: Path, hidden: Sequence[Path]) -> Iterator[Path]:
    """`path`, or what is in it beside the hidden folders: rules can only allow."""
    path = path.resolve()
    inside = [h for h in hidden if h.is_relative_to(path)]
    if not inside:
        yield path
    elif path not in inside:
        for child in path.iterdir():
            yield from _visible(child, inside)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there cannot be read
    try:
        wanted = rights if path.is_dir() else rights & OF_FILES
        rule = wanted.to_bytes(8, sys.byteorder) + place.to_bytes(4, sys.byteorder)  # struct landlock_path_beneath_attr
        code = _libc().syscall(
            SYS_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(RULE_PATH_BENEATH), rule, ctypes.c_uint32(0)
        )
        _check(code)
    finally:
        os.close(place)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(code: int) -> int:
    if code < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return code


def main(argv: Sequence[str]) -> int:
    """Run a command inside, or find out whether that works."""
    if list(argv) == ["probe"]:
        return 0 if abi() >= NEEDED_ABI else 1
    view, dashes, *command = argv
    if dashes != "--" or not command:
        raise SystemExit("usage: landlock.py VIEW_JSON -- COMMAND...")
    restrict(json.loads(view))
    try:
        os.execvp(command[0], command)  # noqa: S606 - a list of arguments, on purpose without a shell
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}; install it, or correct `command` in task.toml")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
