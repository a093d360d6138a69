"""The notebook and the library of a home, as their owner and as everybody else opens them."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from notebook_store.embed import MiniLM
from notebook_store.errors import NoNotebook, NotServed
from notebook_store.local import LocalNotebook
from notebook_store.notebook import Notebook
from notebook_store.server import TOKEN_FILE, served_at, serving, token_of
from notebook_store.setup import Setup, kept_setup
from papers.library import STARTER, Library
from papers.results import AddReport, Progress
from swarm.config import DiskSettings, NotebookSettings
from swarm.errors import InputError
from swarm.home import Home
from swarm.housekeeping import Disk

TOKEN_VARIABLE = "SWARM_NOTEBOOK_TOKEN"  # noqa: S105 - the variable's name
_MADE_SECONDS = 30.0  # for the owner of a home to make its notebook


def owned_notebook(home: Home, settings: NotebookSettings | None = None, *, rebuild: bool = False) -> LocalNotebook:
    """The notebook as the process that owns the home opens it, with what it was made with unless settings differ.

    Raises what `Notebook.open` does: EmbedderChanged where settings name another embedder and ``rebuild`` is not set.
    """
    setup = setup_of(home, settings)
    notebook = Notebook.open(home.notebook, embedder=setup.embedder(), rebuild=rebuild, chroma_url=setup.chroma_url)
    notebook.keep_setup(setup)
    return notebook


def setup_of(home: Home, settings: NotebookSettings | None) -> Setup:
    """Who embeds, and where the vector index is: as settings say, else as the notebook was made."""
    kept = kept_setup(home.notebook)
    if settings is None:
        return kept
    chroma_url = settings.chroma_url or kept.chroma_url
    if settings.embeddings_url is None:
        return replace(kept, chroma_url=chroma_url)
    return Setup(
        embeddings_url=settings.embeddings_url,
        embeddings_model=settings.embeddings_model or "",
        embeddings_dimension=settings.embeddings_dimension or 0,
        embeddings_revision=settings.embeddings_revision,
        chroma_url=chroma_url,
    )


@contextmanager
def session_notebook(home: Home, settings: NotebookSettings, *, owner: bool) -> Iterator[Notebook]:
    """The notebook a session works in: another swarm's, or the home's own. Its owner serves it meanwhile; a session
    that works beside the owner reads and writes the same log and does not need it alive.
    """
    if settings.url is not None:
        with Notebook.connect(settings.url, _token(None)) as elsewhere:
            yield elsewhere
        return
    if not owner:
        with _beside(home) as beside:
            yield beside
        return
    with owned_notebook(home, settings) as notebook, serving(notebook, home.notebook, port=settings.port):
        yield notebook


def _beside(home: Home) -> Notebook:
    """The notebook beside its owner, who may only just be making it."""
    deadline = time.monotonic() + _MADE_SECONDS
    while True:
        try:
            return Notebook.read(home.notebook, embedder=kept_setup(home.notebook).embedder())
        except NoNotebook:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def open_notebook(home: Home) -> Notebook:
    """The notebook as any process may use it: through its owner where one serves it, else beside it."""
    if (address := served_at(home.notebook)) is not None:
        try:
            return Notebook.connect(address, token_of(home.notebook))
        except NotServed:
            pass  # its owner was killed: what it left is read as it is
    if not home.notebook.exists():
        raise InputError(f"the notebook of {home.root} is still empty; begin with `swarm start`")
    return Notebook.read(home.notebook, embedder=kept_setup(home.notebook).embedder())


def notebook_at(url: str, root: Path) -> Notebook:
    """The notebook that an owner serves; the token is in SWARM_NOTEBOOK_TOKEN, else beside the notebook of ``root``."""
    return Notebook.connect(url, _token(root / "notebook" / TOKEN_FILE))


def _token(file: Path | None) -> str:
    token = os.environ.get(TOKEN_VARIABLE)
    if token is None and file is not None and file.is_file():
        token = file.read_text(encoding="ascii").strip()
    if token is None:
        raise InputError(
            f"a notebook elsewhere needs its token: set {TOKEN_VARIABLE} to what its owner has in notebook/{TOKEN_FILE}"
        )
    return token


def open_library(home: Home, *, cores: int = 1) -> Library:
    """The library as any process may read it and add to it, embedding on so many cores; the starter corpus is in it."""
    if not home.papers.exists():
        owned_library(home).close()
    return Library.read(home.papers, embedder=MiniLM(threads=cores))


def owned_library(home: Home) -> Library:
    """The library of this process alone, to add to it; the starter corpus is in it."""
    library = Library.open(home.papers, embedder=MiniLM())
    library.add([STARTER], embed=False)  # searched by words at once, by meaning when somebody embeds
    return library


def check_paths(paths: Sequence[Path]) -> None:
    """Raises InputError for the first path that is not there."""
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise InputError(f"no file or folder {missing[0]}; check the path")


def add_papers(
    library: Library, home: Home, paths: Sequence[Path], *, progress: Progress | None = None, embed: bool = True
) -> tuple[AddReport, Path]:
    """Adds papers and says what became of them, and in which file it stands for each, with the reasons.

    Raises InputError for a path that is not there.
    """
    check_paths(paths)
    table = home.papers / "last-add.tsv"
    part = table.with_name(f"{table.name}.{os.getpid()}")
    with part.open("w", encoding="utf-8") as rows:
        try:
            return library.add(paths, progress=progress, table=rows, embed=embed), table
        finally:
            part.replace(table)  # as far as it came


def disk_of(home: Home, settings: DiskSettings) -> Disk:
    """The disk that a home is on, as housekeeping looks at it."""
    return Disk(
        place=str(home.root),
        free_mb=lambda: shutil.disk_usage(home.root).free / 1e6,
        reserve_mb=settings.reserve_mb,
    )


def data_folder() -> Path:
    """Where prepared task data is kept: the user's cache, shared between homes, made anew when it is deleted."""
    from platformdirs import user_cache_path

    return user_cache_path("nightswarm")
