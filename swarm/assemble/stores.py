"""The notebook and the library of a home, as their owner and as everybody else opens them."""

from pathlib import Path

from notebook_store.embed import MiniLM
from notebook_store.notebook import Notebook
from papers.library import STARTER, Library
from swarm.errors import InputError
from swarm.home import Home


def owned_notebook(home: Home) -> Notebook:
    """The notebook as the process that owns the home opens it."""
    return Notebook.open(home.notebook, embedder=MiniLM())


def open_notebook(home: Home) -> Notebook:
    """The notebook as any process may read it, search it and append to it, beside its owner or without one."""
    if not home.notebook.exists():
        raise InputError(f"the notebook of {home.root} is still empty; begin with `swarm start`")
    return Notebook.read(home.notebook, embedder=MiniLM())


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


def data_folder() -> Path:
    """Where prepared task data is kept: the user's cache, shared between homes, made anew when it is deleted."""
    from platformdirs import user_cache_path

    return user_cache_path("nightswarm")
