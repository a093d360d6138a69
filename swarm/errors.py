"""One tree of errors. Each message is one line: what is wrong and what to do next.

SwarmError                   something failed                               exit code 1
├── InputError               the user gave something that cannot be used    exit code 2
│   ├── HomeBusy             another process owns this home
│   └── HomeTooNew           the home was made by a newer version
├── DiskFull                 nothing more can be written; nothing is lost     exit code 2
├── IllegalTransition        an experiment was asked to make a move its status forbids
├── StaleToken               a result came with a fencing token that is no longer the slot's
└── KernelDied               the analyst's kernel stopped answering
"""


class SwarmError(Exception):
    """Something failed; the message says what and what to do."""

    exit_code = 1


class InputError(SwarmError):
    """The user's input cannot be used as it is."""

    exit_code = 2


class HomeBusy(InputError):
    """Another live process owns this home."""


class HomeTooNew(InputError):
    """The home was written by a newer version of the program."""


class DiskFull(SwarmError):
    """A write failed because the disk is full."""

    exit_code = 2  # room must be made before anything else helps


class IllegalTransition(SwarmError):
    """An experiment's status forbids the move."""


class StaleToken(SwarmError):
    """A fencing token is not, or no longer, the one that owns its slot."""


class KernelDied(SwarmError):
    """The kernel that runs the analyst's cells died or stopped answering."""
