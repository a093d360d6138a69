"""Figures and ids in words for people; foreign text is made harmless for a terminal. Pure."""

from typing import Any


def plain(text: str) -> str:
    """One line without control characters: a title cannot move the cursor or colour the screen."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def printable(text: str) -> str:
    """Lines without control characters other than tabs."""
    return "\n".join(
        "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in line) for line in text.split("\n")
    )


def at_work(doing: str) -> str:
    """What somebody who thinks is at, for a node of the graph that roles go through."""
    return {"recall": "recalls", "think": "thinks", "use tools": "uses tools", "check": "checks"}.get(doing, "writes")


def tail(text: str, characters: int) -> str:
    """The end of what is being said, on one line."""
    words = plain(text)
    return words if len(words) <= characters else f"…{words[1 - characters :]}"


def short(experiment: str, session: str) -> str:
    """An experiment's id without the session it belongs to: tinytext-1-e012 -> e012."""
    return experiment.removeprefix(f"{session}-")


def duration(seconds: float) -> str:
    """Seconds as 0:42, 12:05 or 7:59:59."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def score(value: float | None, ci95: list[float] | None = None) -> str:
    """A score with its interval."""
    if value is None:
        return "not measured yet"
    return f"{value:.4f}" + (f" [{ci95[0]:.4f}, {ci95[1]:.4f}]" if ci95 else "")


def improvement(incumbent: dict[str, Any]) -> str:
    """How much better than the baseline an incumbent is, with its interval."""
    percent, bounds = incumbent["improvement_percent"], incumbent["improvement_ci95"]
    if not percent:
        return "no gain confirmed yet"
    word = "better" if percent > 0 else "worse"
    told = f"{abs(percent):.1f}% {word} than the baseline's {score(incumbent['baseline_value'])}"
    return told + (f" (95% interval {bounds[0]:.1f}% to {bounds[1]:.1f}%)" if bounds else "")


def fates(counts: dict[str, int]) -> str:
    """What became of the experiments."""
    first = f"{counts['proposed']} proposed"
    rest = [f"{number} {word}" for word, number in counts.items() if word != "proposed" and number]
    return ", ".join([first, *rest])


def share(value: float | None) -> str:
    """A share as a percentage."""
    return "—" if value is None else f"{100 * value:.0f}%"


def hidden_shard(holdout: dict[str, Any]) -> str:
    """What the hidden shard says, and how much the validation flattered."""
    low, high = holdout["gap_ci95"]
    seeds = f"{holdout['seeds']} fresh seed{'s' if holdout['seeds'] > 1 else ''}"
    return (
        f"{score(holdout['value'])} against the baseline's {score(holdout['baseline_value'])} on {seeds}; "
        f"validation flattered by {holdout['gap']:+.4f} [{low:+.4f}, {high:+.4f}]"
    )


def worth(change: dict[str, Any], taken_out: list[str]) -> str:
    """What one kept change is worth."""
    low, high = change["ci95"]
    out = ", taken out" if change["name"] in taken_out else ""
    return f"{change['worth']:+.4f} [{low:+.4f}, {high:+.4f}]  {plain(change['told'])}{out}"


def noise(floors: dict[str, float]) -> str:
    """How much one score varies by chance, tier by tier."""
    told = ", ".join(f"{plain(tier)} {sd:.4f}" for tier, sd in floors.items())
    return f"noise, sd of one score: {told or 'not measured yet'}"
