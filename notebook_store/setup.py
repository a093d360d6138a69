"""With what a notebook's index is made: kept in the notebook, so that whoever opens it uses the same."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from notebook_store.embed import Embedder, MiniLM
from notebook_store.errors import NoNotebook
from notebook_store.log import Log

FACT = "setup"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """Who embeds, and where the vector index is. The default needs nobody."""

    embeddings_url: str | None = None  # base of an OpenAI-compatible API; None: the built-in MiniLM
    embeddings_model: str = ""  # as that server calls it
    embeddings_dimension: int = 0  # numbers a vector
    embeddings_revision: str = "unknown"  # which weights, as far as somebody knows
    chroma_url: str | None = None  # of a `chroma run`; None: Chroma in the notebook's folder

    def embedder(self) -> Embedder:
        """The embedder; raises EmbedderMissing."""
        if self.embeddings_url is None:
            return MiniLM()
        from notebook_store.served import ServedEmbedder

        return ServedEmbedder(
            url=self.embeddings_url,
            model=self.embeddings_model,
            dimension=self.embeddings_dimension,
            revision=self.embeddings_revision,
        )

    def kept(self) -> str:
        """As it is kept in the notebook."""
        return json.dumps(asdict(self))


def kept_setup(folder: Path) -> Setup:
    """The setup that the notebook in `folder` was last opened with; the default before that."""
    try:
        log = Log.open(folder, create=False)
    except NoNotebook:
        return Setup()
    try:
        kept = log.fact(FACT)
    finally:
        log.database.close()
    return Setup() if kept is None else Setup(**json.loads(kept))
