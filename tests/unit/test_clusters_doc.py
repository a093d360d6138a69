"""docs/clusters.md shows files as they are."""

import re
from pathlib import Path

from swarm.config import load_settings
from swarm.executors.sky.recipe import DEFAULT

TEXT = (Path(__file__).parents[2] / "docs" / "clusters.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    found = re.search(rf"```{kind}\n(.*?)```", TEXT, flags=re.DOTALL)
    assert found
    return found[1]


def test_the_recipe_shown_is_the_one_used() -> None:
    assert block("yaml") == DEFAULT.read_text(encoding="utf-8")


def test_the_configuration_is_read(tmp_path: Path) -> None:
    file = tmp_path / "swarm.toml"
    file.write_text(block("toml"), encoding="utf-8")
    settings = load_settings(file)
    assert [(pool.kind, pool.each, pool.count) for pool in settings.pool] == [("H100", 1, 13), ("H200", 3, 1)]
