"""doctor: what this machine can do."""

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import print_json


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="First put in order what dead sessions of this home left, clusters included.")
    ] = False,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Say what this machine can do, and what would help.

    Exit 1 when a session cannot run here.
    """
    from swarm.doctor import examine
    from swarm.home import Home
    from swarm.mending import mend

    for line in mend(Home(home, create=False)) if fix else ():
        print(line, file=sys.stderr)
    findings = examine(home)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        marks = {"ok": "ok  ", "lack": "--  ", "fault": "FAIL"}
        for finding in findings:
            print(f"{marks[finding.state]}  {finding.what:<10} {finding.found}")
            if finding.remedy:
                print(f"{'':<17}→ {finding.remedy}")
    if any(finding.state == "fault" for finding in findings):
        raise typer.Exit(1)
