"""docs/configuration.md and docs/command-line.md leave nothing out, and what they show works."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.main import get_command

from swarm.cli import app
from swarm.config import Settings, load_settings

DOCS = Path(__file__).parents[2] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
COMMANDS = (DOCS / "command-line.md").read_text(encoding="utf-8")
SECTIONS = {"slots": "SlotGroup", "pool": "PoolSettings", "tiers": "TierSettings", "agents": "AgentSettings"}


def keys() -> Iterator[str]:
    """Every key of swarm.toml, as the docs spell it."""
    import swarm.config

    for name, field in Settings.model_fields.items():
        section = getattr(swarm.config, SECTIONS[name]) if name in SECTIONS else field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield from (f"{name}.{key}" for key in section.model_fields)
        else:
            yield name


def files() -> list[str]:
    return re.findall(r"```toml\n(.*?)```", CONFIGURATION, flags=re.DOTALL)


def mentioned(raw: dict[str, Any]) -> Iterator[str]:
    for name, value in raw.items():
        if isinstance(value, list) and name in SECTIONS:
            yield from (f"{name}.{key}" for row in value for key in row)
        elif name == "tiers":
            yield from (f"{name}.{key}" for row in value.values() for key in row)
        elif isinstance(value, dict):
            yield from (f"{name}.{key}" for key in value)
        else:
            yield name


def test_every_key_has_its_row_and_no_row_is_of_a_key_that_is_gone() -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \|", CONFIGURATION, flags=re.MULTILINE)
    assert sorted(rows) == sorted(keys())


def test_the_first_file_is_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "swarm.toml"
    file.write_text(files()[0], encoding="utf-8")
    assert load_settings(file) == Settings()


def test_the_second_file_sets_every_key(tmp_path: Path) -> None:
    file = tmp_path / "swarm.toml"
    file.write_text(files()[1], encoding="utf-8")
    load_settings(file)
    assert set(mentioned(tomllib.loads(files()[1]))) == set(keys())


def commands(group: Any, prefix: str = "swarm") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


@pytest.mark.parametrize(("name", "command"), list(commands(get_command(app))))
def test_every_command_and_option_is_documented(name: str, command: Any) -> None:
    assert f"`{name}" in COMMANDS or f"    {name}" in COMMANDS
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    for option in options:
        assert option in COMMANDS, f"{name} {option}"
    assert command.help


def test_every_listing_takes_json_and_every_command_but_task_takes_home() -> None:
    no_listing = {
        "start", "new", "watch", "stop", "pause", "resume", "approve", "reject", "browse", "report", "mcp", "reindex",
        "export", "serve",
    }  # fmt: skip
    for name, command in commands(get_command(app)):
        options = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in options) != (name.split()[-1] in no_listing), name
        assert ("--home" in options) != (" task " in name), name
