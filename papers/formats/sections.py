"""Which section of a paper a text stands in, told from headings that stand on lines of their own. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from papers.record import one_line

# Headings that need no number. Words such as "Method" or "Results" alone on a line also head columns of tables.
_NAMED = re.compile(
    r"(?:[IVX]{1,5}\.?\s+)?(?:abstract|introduction|related works?|background|preliminaries|experiments|"
    r"discussion|limitations|conclusions?|conclusions? and future work|discussion and conclusions?|future work|"
    r"broader impacts?|ethics statement|reproducibility statement|acknowledge?ments?(?: and disclosure of funding)?|"
    r"references|bibliography|appendix|appendices|supplementary materials?)\s*[.:]?",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(\d{1,2})((?:\.\d{1,2}){0,2})(\.?)\s+([A-Z][^\d=%<>|]{2,70})")
_LETTERED = re.compile(r"([A-Z])((?:\.\d{1,2}){0,2})(\.?)\s+([A-Z][^\d=%<>|]{2,70})")  # of appendices
_INLINE_ABSTRACT = re.compile(r"(abstract)\s*[-.:\u2013\u2014]+\s*(?=\S)", re.IGNORECASE)
_MOST_WORDS = 10  # in a heading
_OPENS_A_SENTENCE = frozenset({"We", "The", "This", "Our", "It", "In", "For", "If", "To", "These", "When"})


class Sections:
    """Follows a paper's headings from page to page."""

    def __init__(self) -> None:
        self._section: str | None = None
        self._last = 0  # number of the last main heading: headings count up, rows of tables do not
        self._letter = ""  # of the last appendix
        self._body_is_over = False  # references were reached: what has letters is an appendix

    def split(self, page: str) -> Iterator[tuple[str | None, str]]:
        """The parts of a page in order, each with its heading; they hold all of its text but the headings."""
        held: list[str] = []
        for line in page.splitlines():
            heading, rest = self._heading(one_line(line))
            if heading is None:
                held.append(line)
                continue
            if any(map(str.strip, held)):
                yield self._section, "\n".join(held)
            self._section, held = heading, [rest]
            self._body_is_over |= is_references(heading) or heading.lower().startswith("append")
        if any(map(str.strip, held)):
            yield self._section, "\n".join(held)

    def _heading(self, line: str) -> tuple[str | None, str]:
        """The heading that a line is, and what else is on it; None for any other line."""
        if (inline := _INLINE_ABSTRACT.match(line)) is not None:
            return inline.group(1).capitalize(), line[inline.end() :]
        if _NAMED.fullmatch(line):
            return line.rstrip(".: "), ""
        if (found := _NUMBERED.fullmatch(line)) is not None and not self._body_is_over:
            number = int(found.group(1))
            if number == self._last + (0 if found.group(2) else 1) and _can_be_heading(found):
                self._last = number
                return line, ""
        if (found := _LETTERED.fullmatch(line)) is not None and self._body_is_over:
            following = chr(ord(self._letter) + 1) if self._letter else "A"
            if found.group(1) == (self._letter if found.group(2) else following) and _can_be_heading(found):
                self._letter = found.group(1)
                return line, ""
        return None, ""


def _can_be_heading(found: re.Match[str]) -> bool:
    """Whether the words after a number are no sentence and no item of a list, which may be numbered too."""
    words = found.group(4).split()
    if len(words) > _MOST_WORDS or words[0] in _OPENS_A_SENTENCE or words[-1].endswith((".", ",", ";", "-")):
        return False
    long_words = [word for word in words if len(word) >= 4]
    in_title_case = all(word[0].isupper() for word in long_words)
    return bool(long_words) and (in_title_case or not found.group(3) or len(words) <= 3)


def is_references(section: str | None) -> bool:
    """Whether a section lists what a paper cites, and says nothing of its own."""
    return (section or "").lower().endswith(("references", "bibliography"))
