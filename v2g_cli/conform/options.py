"""Options of all conformance tests."""

from pathlib import Path
from typing import Annotated

import typer

from v2g_cli.secret_options import seen_by_others

OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="ID", help="Only cases whose id contains this text; * matches anything; repeatable."
    ),
]
QuickFlag = Annotated[bool, typer.Option("--quick", help="Run one case of each kind instead of all.")]
ListFlag = Annotated[bool, typer.Option("--list", help="List the cases and exit.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per case, then the totals.")]
JunitOption = Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Write JUnit XML for build servers.")]
TargetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        metavar="NAME=INTERFACE[:PORT]",
        help="Test several devices at once, each with reports of its own; repeatable, or @FILE with one in each line.",
    ),
]
ParallelOption = Annotated[int, typer.Option("--parallel", min=1, max=64, help="Devices tested at the same time.")]
DeviceOption = Annotated[
    str, typer.Option("--device", metavar="TEXT", help="Device under test, for reports: make, model, serial number.")
]
HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FOLDER", help="Folder for an HTML report: results, and the messages of each case."),
]
PasswordOption = Annotated[
    str | None,
    typer.Option(
        "--password", envvar="V2G_STATION_PASSWORD", callback=seen_by_others, help="The station's basic password."
    ),
]
PromptFlag = Annotated[bool, typer.Option("--prompt", help="Ask for these steps at the terminal.")]
ProfileOption = Annotated[
    list[str] | None, typer.Option("--profile", help="Only cases of a certification profile; repeatable.")
]
ResumeOption = Annotated[
    Path | None,
    typer.Option("--resume", metavar="FILE", help="Records of an earlier run (--json) whose results count."),
]
FramesOption = Annotated[
    Path | None,
    typer.Option("--frames", metavar="FILE", help="Append each frame to FILE as a JSON line, at once."),
]
CheckFlag = Annotated[
    bool, typer.Option("--check", help="Check the declaration, say which cases it rules out and why, and exit.")
]
SecondsOption = Annotated[
    float | None,
    typer.Option(
        "--seconds",
        metavar="S",
        min=0.1,
        max=600,
        help="How long the device may take to react where OCPP sets no limit; default: as declared (30).",
    ),
]
SkipOption = Annotated[
    list[str] | None,
    typer.Option("--skip", metavar="ID", help="Leave these cases out, as --only names them; repeatable."),
]
