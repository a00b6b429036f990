"""`sgp doctor`: what is wrong with a running graph, and how to mend it."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sgp_ros.doctor_findings import Finding, Severity, as_dicts

COLOURS = {Severity.ERROR: "bold red", Severity.WARN: "yellow", Severity.INFO: "cyan"}
console = Console(highlight=False)


def doctor(
    namespace: Annotated[str, typer.Option(help="of the nodes")] = "sgp",
    seconds: Annotated[float, typer.Option(min=0.5, max=600.0, help="how long to listen, after looking round")] = 4.0,
    as_json: Annotated[bool, typer.Option("--json", help="print the findings as JSON, and nothing else")] = False,
) -> None:
    """Look at a running graph and say what is wrong with it, and how to mend it. Changes nothing and sends nothing.

    Start the nodes, in any order and also only some of them, then this in another terminal with the same ROS_DOMAIN_ID.
    What ought to be there is read from the parameters of the nodes themselves: topics, types, units, frames and limits.
    Every sample of the driver goes through the code of mocap_node.

    ERROR: nothing moves, or it must not. WARN: it may work, but not well. INFO: nothing is wrong; somebody has to do
    something, or it follows from an error above it. Mend the first error, then look again.

    Exit code 0 without errors, 1 with one, 2 when it could not look.
    """
    from sgp_ros.doctor_visit import visit  # here, because everything else works without ROS

    quiet = Console(stderr=True, highlight=False, quiet=as_json)
    with quiet.status("looking round") as status:

        def tell(stage: str) -> None:
            status.update(stage)

        found = visit(namespace, seconds, tell)
    if as_json:
        typer.echo(json.dumps(as_dicts(found), indent=1))
    else:
        _print(found, namespace)
    raise typer.Exit(1 if any(finding.severity == Severity.ERROR for finding in found) else 0)


def _print(found: list[Finding], namespace: str) -> None:
    if not found:
        console.print(f"[green]nothing is wrong[/] in the namespace /{escape(namespace.strip('/'))}")
        return
    table = Table(title=f"findings in the namespace /{escape(namespace.strip('/'))}", title_justify="left")
    table.show_lines = True
    table.add_column("", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("what is wrong")
    table.add_column("what to do")
    for one in found:
        colour = COLOURS[one.severity]
        table.add_row(f"[{colour}]{one.severity}[/]", one.check, escape(one.words), escape(one.remedy))
    console.print(table)
