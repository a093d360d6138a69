"""The command `swarm`: parse, call, print. Everything heavy is imported inside the command that needs it."""

from typing import Annotated

import typer

import swarm
from swarm.cli import experiments, live, machine, notebook, papers, sessions, tasks
from swarm.cli.options import InHome, Root
from swarm.home_default import DEFAULT

__all__ = ["app", "main"]
