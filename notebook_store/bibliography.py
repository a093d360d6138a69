"""BibTeX of what entries cite."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from notebook_store.entry import Entry

_SPECIAL = {char: f"\\{char}" for char in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What is known of a source beside its title."""

    authors: tuple[str, ...] = ()  # "Given Family", in order
    year: int | None = None
    doi: str | None = None
    arxiv_id: str | None = None
    url: str | None = None


def to_bibtex(entries: Iterable[Entry], work_of: Callable[[str], Work]) -> str:
    """One BibTeX record for each source that the entries cite, in the order of first citation.

    Args:
        entries: in any order.
        work_of: what a library knows of a source, by its id; an empty Work where it knows nothing.
    """
    titles: dict[str, str] = {}
    for entry in entries:
        for cited in entry.citations:
            titles.setdefault(cited.source, cited.title)
    keys: set[str] = set()
    return "\n".join(_record(source, title, work_of(source), keys) for source, title in titles.items())


def _record(source: str, title: str, work: Work, keys: set[str]) -> str:
    fields = {"title": f"{{{_escaped(title)}}}"}
    if work.authors:
        fields["author"] = " and ".join(map(_escaped, work.authors))
    if work.year is not None:
        fields["year"] = str(work.year)
    if work.doi:
        fields["doi"] = _escaped(work.doi)
    arxiv = work.arxiv_id or (source[6:] if source.lower().startswith("arxiv:") else None)
    if arxiv:
        fields |= {"eprint": _escaped(arxiv), "archiveprefix": "arXiv"}
    if work.url:
        fields["url"] = _escaped(work.url)
    if not (arxiv or work.doi or work.url):
        fields["note"] = _escaped(source)
    told = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{'article' if work.doi else 'misc'}{{{_key(title, work, keys)},\n{told}\n}}\n"


def _key(title: str, work: Work, keys: set[str]) -> str:
    """A key such as kingma2014adam, which no other record has."""
    family = work.authors[0].split()[-1] if work.authors else ""
    word = next((word for word in re.findall(r"[A-Za-z]{4,}", title)), "work")
    plain = re.sub(r"[^a-z0-9]", "", f"{family}{work.year or ''}{word}".lower()) or "work"
    key, number = plain, 2
    while key in keys:
        key, number = f"{plain}{number}", number + 1
    keys.add(key)
    return key


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(char, char) for char in " ".join(text.split()))
