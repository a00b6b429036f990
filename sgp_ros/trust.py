"""`sgp trust`: vouch for a bundle that came from somebody else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from sgp_core.bundle_files import calls_of, read_bundle_files
from sgp_core.errors import InputError
from sgp_core.share import share_path
from sgp_core.trust import is_trusted, list_path
from sgp_core.trust import trust as note

console = Console(highlight=False)


def trust(
    bundle: Annotated[Path, typer.Argument(help="folder of the bundle")],
    sha256: Annotated[
        str, typer.Option(help="what its maker says its sha256 is; then nothing is asked, and another is refused")
    ] = "",
) -> None:
    """Let a bundle that was trained elsewhere run on this machine: its models are programs. Nothing runs meanwhile."""
    files = read_bundle_files(bundle)
    console.print(f"bundle {escape(str(bundle))}\nsha256 {files.sha256}")
    if is_trusted(files.sha256):
        console.print("it is trusted already")
        return
    if sha256 and sha256.strip().lower() != files.sha256:
        raise InputError(f"bundle {bundle} has sha256 {files.sha256}, not {sha256}; it is another one, or was changed")
    usual = read_bundle_files(share_path("models", "default"))
    known = {call for model in usual.models.values() for call in calls_of(model)}
    unusual = sorted({call for model in files.models.values() for call in calls_of(model)} - known)
    if unusual:
        told = escape(", ".join(unusual)[:500])
        console.print(f"[bold red]its code calls what the models of `sgp train` do not:[/] {told}")
    else:
        console.print("its code calls only what the models of `sgp train` do, as far as a look at the text can tell")
    if not sha256 and not typer.confirm(
        "Compare the sha256 with what its maker tells you. May it run with your rights?"
    ):
        raise typer.Exit(1)
    note(files.sha256, bundle)
    console.print(f"noted in {escape(str(list_path()))}; delete its line there to take it back")
