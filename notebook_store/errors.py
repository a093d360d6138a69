"""What can go wrong with a notebook; every message is one line that says what is wrong and what to do.

NotebookError
├── NewerSchema       the file was made by a newer version of this program
├── NoNotebook        there is no notebook at that place
├── LogBroken         the SQLite file is damaged
├── NoSpace           the disk is full
├── Unwritable        the SQLite file cannot be written: its disk, or somebody who holds it
├── FolderOwned       another process owns the vector index
├── IndexBroken       the vector index cannot be read; it can be rebuilt
├── EmbedderChanged   the vector index was made with another model
├── EmbedderMissing   the embedding model is not installed, or is not the pinned one
├── EmbedderDown      the server that embeds does not answer
├── NotServed         nobody serves a notebook at that address
├── NotAllowed        the owner did not accept the token
├── InvalidEntry      an entry that cannot be stored as it is
├── EntryConflict     the id is taken by an entry with other content
└── UnknownEntry      no entry has that id
"""


class NotebookError(Exception):
    """The root of all errors of this package."""


class NewerSchema(NotebookError):
    """The file was made by a newer version of this program."""


class NoNotebook(NotebookError):
    """There is no notebook at that place."""


class LogBroken(NotebookError):
    """The SQLite file is damaged or is no SQLite file."""


class NoSpace(NotebookError):
    """A write failed because the disk is full; what was acknowledged is there."""


class Unwritable(NotebookError):
    """The SQLite file cannot be written: its disk is read-only, or another program holds it for too long."""


class FolderOwned(NotebookError):
    """Another process owns the vector index; `pid` is its process id, None when it could not be read."""

    def __init__(self, message: str, pid: int | None) -> None:
        super().__init__(message)
        self.pid = pid


class IndexBroken(NotebookError):
    """The vector index cannot be read; nothing is lost, it can be rebuilt from the log."""


class EmbedderChanged(NotebookError):
    """The vector index was made with another model, revision or dimension."""


class EmbedderMissing(NotebookError):
    """The embedding model is not installed, or its bytes are not the pinned ones."""


class EmbedderDown(NotebookError):
    """The server that embeds does not answer, or not with embeddings."""


class NotServed(NotebookError):
    """Nobody serves a notebook at that address, or no longer."""


class NotAllowed(NotebookError):
    """The owner of the notebook did not accept the token."""


class InvalidEntry(NotebookError):
    """The entry cannot be stored as it is."""


class EntryConflict(NotebookError):
    """The id is taken by an entry with other content."""


class UnknownEntry(NotebookError):
    """No entry has that id."""
