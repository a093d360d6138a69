"""The notebook as everybody uses it: its owner, others on the same machine, others far away."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

from notebook_store.answers import Claim, Hit, Idea, Near, Report, Tried
from notebook_store.entry import Entry, Relation
from notebook_store.log import Column, Filters

if TYPE_CHECKING:
    from notebook_store.embed import Embedder
    from notebook_store.local import LocalNotebook
    from notebook_store.remote import RemoteNotebook


class Notebook(ABC):
    """The shared research notebook.

    One process owns it (`open`): it holds the vector index, embeds in the background what anybody appends, and may
    serve the rest by HTTP. Others on the same machine open the same log beside it (`read`); they search meaning
    exactly instead of through the index. Whoever has its address works through its owner (`connect`).
    Thread-safe; calls block for milliseconds, `flush` and `check` for longer. Each raises NotebookError.
    """

    @staticmethod
    def open(
        folder: Path, *, embedder: Embedder, rebuild: bool = False, chroma_url: str | None = None
    ) -> LocalNotebook:
        """Opens or makes the notebook in `folder` as its one owner, and begins to index what is missing.

        Args:
            folder: the notebook's own.
            embedder: makes the vectors; it must be the one that the index was made with.
            rebuild: throw both indexes away first and make them anew from the log.
            chroma_url: a `chroma run` that holds the vectors; None: the folder itself.

        Raises:
            FolderOwned, IndexBroken, EmbedderChanged, NewerSchema, LogBroken.
        """
        from notebook_store.local import LocalNotebook

        return LocalNotebook.owned(folder, embedder=embedder, rebuild=rebuild, chroma_url=chroma_url)

    @staticmethod
    def read(folder: Path, *, embedder: Embedder | None = None) -> LocalNotebook:
        """Opens the notebook in `folder` beside its owner, or without one; appending and claiming work too.

        Args:
            folder: the notebook's own.
            embedder: the owner's, to search by meaning; None searches by words alone.

        Raises:
            NoNotebook, NewerSchema, LogBroken.
        """
        from notebook_store.local import LocalNotebook

        return LocalNotebook.beside(folder, embedder=embedder)

    @staticmethod
    def connect(url: str, token: str) -> RemoteNotebook:
        """The notebook that an owner serves at `url`.

        Raises:
            NotServed: nobody answers there. NotAllowed: the token is not the owner's.
        """
        from notebook_store.remote import RemoteNotebook

        return RemoteNotebook(url, token)

    @abstractmethod
    def extend(self, entries: Sequence[Entry]) -> list[bool]:
        """Writes all the entries or none; for each, True when it is new, False when the very same was there.

        They are on disk and found by their words when this returns; their meaning is indexed in the background.

        Raises:
            EntryConflict: another entry has one of the ids.
        """

    def append(self, entry: Entry) -> bool:
        """Writes one entry; see `extend`."""
        return self.extend([entry])[0]

    @abstractmethod
    def claim(self, key: str, holder: str, *, at: float) -> Claim:
        """Claims `key` for `holder` unless somebody came first, over all processes; `at` in unix seconds."""

    @abstractmethod
    def near(self, idea: Idea, k: int = 3) -> list[Near]:
        """Earlier hypotheses close to an idea by configuration or by meaning, nearest first; what came of them."""

    @abstractmethod
    def get(self, entry_id: str) -> Entry:
        """The entry; raises UnknownEntry."""

    @abstractmethod
    def entries(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> list[Entry]:
        """Entries that pass the filters, newest first."""

    def recent(self, n: int = 10) -> list[Entry]:
        """The n newest entries, newest first."""
        return self.entries(limit=n)

    @abstractmethod
    def stream(self, **filters: Unpack[Filters]) -> Iterator[Entry]:
        """Entries that pass the filters, oldest first, few of them in memory at a time."""

    @abstractmethod
    def count(self, **filters: Unpack[Filters]) -> int:
        """How many entries pass the filters."""

    @abstractmethod
    def tally(self, column: Column, **filters: Unpack[Filters]) -> dict[str, int]:
        """How many of the entries that pass have each value of a column, most first; those without one are left out."""

    @abstractmethod
    def links_to(self, entry_id: str) -> list[tuple[Relation, Entry]]:
        """The entries that link to this one, each with what it says of it, in the order of appending."""

    @abstractmethod
    def tried(self, entry_id: str) -> list[Tried]:
        """The experiments that tried what an entry says (or that it proposes), each with what came out of it."""

    @abstractmethod
    def grounds(self, entry_id: str) -> list[tuple[Relation, Entry]]:
        """What an entry rests on, directly or through others: the entries its links lead to, the nearest first."""

    @abstractmethod
    def search(self, query: str, k: int = 10, **filters: Unpack[Filters]) -> list[Hit]:
        """The k entries that fit best by words and by meaning, best first."""

    @abstractmethod
    def like(self, entry_id: str, k: int = 10, **filters: Unpack[Filters]) -> list[Hit]:
        """The k entries most like one, best first, without itself; raises UnknownEntry."""

    @abstractmethod
    def identity(self) -> str:
        """The notebook's name among all notebooks, made when it was."""

    @abstractmethod
    def notices(self) -> list[str]:
        """What is not as it should be for whoever searches, one line each, such as that meaning is not searched."""

    @abstractmethod
    def flush(self) -> None:
        """Waits until all that is in the log is embedded and indexed; raises what kept it from that.

        Beside the owner there is nothing to wait for.
        """

    @abstractmethod
    def check(self) -> Report:
        """Compares the log with itself and both indexes with the log, after `flush`; takes seconds."""

    @abstractmethod
    def close(self) -> None:
        """Gives everything up; what is not indexed yet is indexed at the next open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
