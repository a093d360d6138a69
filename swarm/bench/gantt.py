"""A picture of a night: one row a slot, one bar a lease, the lockstep night below."""

from pathlib import Path

from swarm.bench.night import Policy, Report
from swarm.errors import InputError

_COLOURS = {"screen": "tab:blue", "validate": "tab:orange"}


def check(path: Path) -> None:
    """Raise InputError where no picture can be written."""
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError(f"{path}: a picture's name ends in .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: no such folder as {path.parent}; choose another --plot")


def draw(report: Report, path: Path) -> None:
    """Write the picture as PNG, SVG or PDF, by the name's ending. Raises InputError."""
    check(path)
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    policies = (report.swarm, report.lockstep)
    rows = max(len({span.slot for span in policy.spans}) for policy in policies)
    figure, axes = plt.subplots(2, 1, figsize=(14, 2 + 0.36 * rows), sharex=True)
    for axis, policy in zip(axes, policies, strict=True):
        slots = sorted({span.slot for span in policy.spans}, key=_natural, reverse=True)
        for tier, colour in _COLOURS.items():
            bars = [span for span in policy.spans if span.tier == tier]
            if bars:
                axis.barh(
                    [slots.index(span.slot) for span in bars],
                    [(span.end - span.start) / 3600 for span in bars],
                    left=[span.start / 3600 for span in bars],
                    color=colour,
                    edgecolor="white",
                    linewidth=0.3,
                    label=tier,
                )
        axis.set_yticks(range(len(slots)), slots, fontsize=6)
        axis.set_title(_title(policy), fontsize=9, loc="left")
        axis.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, fontsize=7, frameon=False)
    axes[-1].set_xlabel("hours")
    figure.tight_layout()
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another --plot") from error
    finally:
        plt.close(figure)


def _title(policy: Policy) -> str:
    return f"{policy.name}: {policy.experiments} experiments, slots busy {policy.occupancy['all']:.1%}"


def _natural(slot: str) -> tuple[str, int]:
    name, _, number = slot.rpartition("-")
    return (name, int(number)) if number.isdigit() else (slot, 0)
