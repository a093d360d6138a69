"""The forms in which roles answer. Sent to models as JSON schemas, so no field has a default: absence is null."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Form(BaseModel):
    """Nothing more than what is named, and all of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Setting(_Form):
    """One constant of the editable file."""

    name: str
    value: bool | int | float | str


class Replacement(_Form):
    """One edit of the editable file: a text that stands there exactly once, and what stands there instead."""

    search: str
    replace: str


class Idea(_Form):
    """One experiment: constants to set, places to edit, or both where the edit brings the constant."""

    hypothesis: str  # one sentence that a trial can contradict
    settings: list[Setting]
    edits: list[Replacement]
    expected_gain: float | None  # in the metric's unit, positive is better
    why_new: str  # why it repeats nothing that was tried
    cites: list[str]  # ids of notebook entries that led here


class Proposals(_Form):
    """What a proposer answers."""

    wave: str | None  # what these experiments find out together; null where each stands alone
    experiments: list[Idea]


class Verdict(_Form):
    """What a reviewer answers."""

    verdict: Literal["APPROVED", "REVISE", "REJECTED"]
    plausible: str  # whether it can work, in one sentence
    redundant_with: str | None  # id of an earlier experiment that already told
    confounded: bool  # two things are changed that no design tells apart
    reasons: list[str]  # one sentence each


class ReadClaim(_Form):
    """One finding of a paper."""

    passage: int  # number of the passage it stands in
    quote: str  # word for word
    factor: str  # the constant or the part of the file it concerns
    scope: str  # under which conditions it was shown
    suggestion: str  # what could be tried here


class Reply(_Form):
    """An answer to a question that an agent or a person left in the notebook."""

    question: str  # id of the entry that asks
    answer: str
    cites: list[int]  # numbers of passages


class Reading(_Form):
    """What a reader answers."""

    claims: list[ReadClaim]
    answers: list[Reply]
    directions: list[str]  # parts of the file never touched that are worth a try, and why


class Finding(_Form):
    """What an analyst answers once its cells have told it enough."""

    title: str  # the finding, in one line
    body: str  # Markdown: what was computed, with intervals, and what it cannot show
    factors: list[str]
    questions: list[str]  # what the literature may know; the reader answers them


class Page(_Form):
    """One entry of a role that writes freely."""

    kind: str  # one of those the role may write
    title: str
    body: str  # Markdown
    cites: list[str]  # ids of notebook entries


class Pages(_Form):
    """What a role answers that is nothing but a prompt and a row."""

    pages: list[Page]
