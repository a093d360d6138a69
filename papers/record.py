"""What a reader of any format hands over: one paper as found, or one refusal with its reason. Pure."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from enum import IntEnum

_ARXIV_NEW = re.compile(r"(?<!\d)(?<!\d\.)(\d{2}(?:0[1-9]|1[0-2])\.\d{4,5})(?:v\d+)?(?!\d)")
_ARXIV_OLD = re.compile(r"\b([a-z-]+(?:\.[A-Z]{2})?/\d{7})(?:v\d+)?(?!\d)")
_DOI = re.compile(r"10\.\d{4,9}/[^\s\"<>{}]+")
_ARXIV_DOI_PREFIX = "10.48550/arxiv."


class Extent(IntEnum):
    """How much of a paper is at hand; a paper that arrives again with more is completed, not repeated."""

    TITLE = 0
    ABSTRACT = 1
    FULL_TEXT = 2


@dataclass(frozen=True, kw_only=True)
class Page:
    """A stretch of text that a reader could cite by its page."""

    number: int | None  # 1-based page of the document; None where the source has no pages
    text: str  # plain text, never HTML or LaTeX markup that a format could undo
    section: str | None = None  # the heading that it stands under; None where that cannot be told


@dataclass(frozen=True, kw_only=True)
class Record:
    """One paper as a file describes it."""

    title: str  # never empty
    pages: tuple[Page, ...] = ()  # abstract, note or full text, in reading order
    authors: tuple[str, ...] = ()  # "Given Family", in order of the source
    year: int | None = None  # of publication, Gregorian
    doi: str | None = None  # lower case, without resolver
    arxiv_id: str | None = None  # "2309.14322" or "hep-th/9901001", without version
    url: str | None = None  # where a person finds it
    source_id: str | None = None  # the id that the source gave it, verbatim
    keywords: tuple[str, ...] = ()  # as the authors or the source tagged it: "weight decay", "cs.LG"

    @property
    def extent(self) -> Extent:
        if not any(page.text.strip() for page in self.pages):
            return Extent.TITLE
        return Extent.FULL_TEXT if any(page.number for page in self.pages) else Extent.ABSTRACT

    @property
    def derived_id(self) -> str:
        """An id from the paper's own identity, the same whatever file it came in."""
        if self.arxiv_id:
            return f"arXiv:{self.arxiv_id}"
        if self.doi:
            return f"doi:{self.doi}"
        who = "|".join(sorted(family_names(self.authors)))
        digest = hashlib.sha256(f"{title_key(self.title)}|{who}".encode()).hexdigest()
        return f"title:{digest[:12]}"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Something that was offered and could not be read."""

    where: str  # path, with the line or entry where one is to blame
    reason: str  # one line: what is wrong and what to do


def title_key(title: str) -> str:
    """Letters and digits alone, case and accents folded: equal for two spellings of one title."""
    folded = unicodedata.normalize("NFKD", title).casefold()
    return "".join(char for char in folded if char.isalnum())


def family_names(authors: tuple[str, ...]) -> frozenset[str]:
    """The last word of every author's name, folded; "Family, Given" is understood too."""
    words = (author.split(",")[0].split() for author in authors)
    return frozenset(title_key(parts[-1]) for parts in words if parts) - {""}


def natural_name(name: str) -> str:
    """ "Family, Given" as "Given Family"."""
    family, _, given = name.partition(",")
    return one_line(f"{given} {family}")


def parse_doi(text: str | None) -> str | None:
    """The DOI in a DOI, a URL or a sentence; None for none, and for arXiv's own (see parse_arxiv_id)."""
    match = _DOI.search(text or "")
    if match is None:
        return None
    doi = match.group().rstrip(".,;)]").lower()
    return None if doi.startswith(_ARXIV_DOI_PREFIX) else doi


def parse_arxiv_id(text: str | None) -> str | None:
    """The arXiv id, without version, in an id, a URL or an arXiv DOI; None where there is none."""
    match = _ARXIV_NEW.search(text or "") or _ARXIV_OLD.search(text or "")
    return match.group(1) if match else None


def parse_year(value: object) -> int | None:
    """A plausible year of publication out of 2018, "2018" or "2018-03-01"; None for anything else."""
    match = re.match(r"(1[89]\d\d|20\d\d)(?!\d)", str(value).strip())
    return int(match.group()) if match else None


def one_line(text: str) -> str:
    """Runs of white space, control characters and lone surrogates become one space; soft hyphens go."""
    text = text.replace("\xad", "")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(text.split())
