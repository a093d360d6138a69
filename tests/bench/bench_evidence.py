"""How often a session is wrong, and how much it finds: `make bench-evidence` prints the table of docs/evidence.md."""

from collections import Counter

from swarm.config import PromotionSettings
from tests.evidence_lab import Story, played

NOISES = (0.0003, 0.001, 0.005, 0.02)


def main() -> None:
    """Forty sessions of 1,000 experiments for each line."""
    settings = PromotionSettings()
    nulls = [played(Story(noise=NOISES[seed % 4], share=0.0, effect=0.0), seed, settings) for seed in range(40)]
    wrong = sum(count["null confirmed"] > 0 for count in nulls)
    total = sum(nulls, Counter())
    print(
        f"A/A: {wrong} of 40 sessions confirm anything; validation runs an experiment: "
        f"{total['validation runs'] / total['null']:.2f}; screening runs: {total['screening runs'] / total['null']:.2f}"
    )
    for effect in (3.0, 2.0, 1.0):
        stories = [Story(noise=NOISES[seed % 4], share=0.05, effect=effect) for seed in range(40)]
        total = sum((played(story, 1000 + seed, settings) for seed, story in enumerate(stories)), Counter())
        confirmed = total["true confirmed"] + total["null confirmed"]
        print(
            f"{effect:g} sd: promoted {total['true promoted'] / total['true']:.1%}, found "
            f"{total['true confirmed'] / total['true']:.1%}; false among the confirmed "
            f"{total['null confirmed'] / max(confirmed, 1):.1%}; validation runs an experiment "
            f"{total['validation runs'] / (total['true'] + total['null']):.2f}"
        )


if __name__ == "__main__":
    main()
