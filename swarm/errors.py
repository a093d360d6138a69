"""One tree of errors. Each message is one line: what is wrong and what to do next.

SwarmError                   something failed                               exit code 1
├── InputError               the user gave something that cannot be used    exit code 2
│   ├── HomeBusy             another process owns this home
│   └── HomeTooNew           the home was made by a newer version
├── DiskFull                 nothing more can be written; nothing is lost     exit code 2
├── IllegalTransition        an experiment was asked to make a move its status forbids
├── StaleToken               a result came with a fencing token that is no longer the slot's
├── KernelDied               the analyst's kernel stopped answering
└── ModelError               a language model gave no usable answer
    ├── ModelUnavailable     its endpoint did not answer, however often it was asked
    ├── ModelMisused         its endpoint refuses for good: a bad key, an unknown model
    ├── ContextOverflow      the question is longer than it can read
    └── CapReached           what may be spent on models is spent
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


class ModelError(SwarmError):
    """A language model gave no usable answer."""


class ModelUnavailable(ModelError):
    """The endpoint did not answer, however often it was asked; ``wasted`` tokens of questions and answers broke off."""

    def __init__(self, message: str, wasted: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.wasted = wasted


class ModelMisused(ModelError):
    """The endpoint refuses such questions for good: a bad key, an unknown model."""


class ContextOverflow(ModelError):
    """The question is longer than the model can read; ``limit`` is its length in tokens where it is known."""

    def __init__(self, message: str, limit: int | None = None) -> None:
        super().__init__(message)
        self.limit = limit


class CapReached(ModelError):
    """The tokens or dollars that a session, or a role in it, may spend on models are spent."""
