"""`v2g conform eebus`: tests a controllable system of EEBUS, as its energy guard."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from v2g.errors import CodecError, ConfigError
from v2g_cli.conform.options import Reports, Selection
from v2g_cli.output import say

if TYPE_CHECKING:  # slow to load: other commands do without
    from v2g_cli.conform.running import LabRun
    from v2g_testkit.cases.case import Result
    from v2g_testkit.guard_tester import GuardBench, GuardCase

NOTICE = (
    "These cases follow those of the published EEBUS high-level test specification of LPC 1.0.0 that need no restart "
    "of the device, in our own words; a pass is not a certificate."
)


def eebus(
    url: Annotated[str, typer.Argument(help="Where the device listens: wss://HOST:PORT/ship/.")],
    ski: Annotated[str, typer.Option("--ski", help="SKI of the device: 40 hexadecimal digits.")],
    selection: Selection,
    reports: Reports,
    use_case: Annotated[str, typer.Option("--use-case", help="lpc (consumption) or lpp (production).")] = "lpc",
    least: Annotated[int, typer.Option("--least", min=0, help="Least power in its range, W.")] = 0,
    most: Annotated[int, typer.Option("--most", min=1, help="Maximum power in its range, W.")] = 22_000,
    folder: Annotated[
        Path, typer.Option("--folder", help="Key of the tester, made at the first run; the device must trust its SKI.")
    ] = Path("eebus-guard"),
) -> None:
    """Test a charger or other device that is limited by EEBUS: the tester is the control box.

    Exit code 1 if a case failed, 3 if nothing was conclusive.

    Examples:

    - `v2g conform eebus --list wss://192.168.1.20:4712/ship/ --ski 5a3f0c9be17d8844c2aa90b1d6e3f7521c0b9d4e`
    """
    from v2g.eebus.identity import parse_ski
    from v2g_cli.conform.running import LabRun
    from v2g_testkit.guard_tester import CASES, GuardBench

    run = LabRun("eebus", CASES, selection, reports, NOTICE)
    names: dict[str, Literal["lpc", "lpp"]] = {"lpc": "lpc", "lpp": "lpp"}
    if use_case not in names or least >= most:
        raise ConfigError("--use-case is lpc or lpp, and --least below --most")
    try:
        bench = GuardBench(ski=parse_ski(ski), url=url, use_case=names[use_case], least_w=least, most_w=most)
    except CodecError as error:
        raise ConfigError(str(error), hint=error.hint) from None
    run.prepare()
    run.end(asyncio.run(_run(bench, folder, run, say_ski=not reports.json)))


async def _run(bench: "GuardBench", folder: Path, run: "LabRun[GuardCase]", *, say_ski: bool) -> "list[Result]":
    from v2g.io.runtime.clock import Clock
    from v2g_testkit.guard_tester import GuardTester

    tester = GuardTester(bench, folder, clock=Clock(), observe=lambda _: None)
    if say_ski:
        say(f"SKI of the tester, which the device must trust: {tester.ski}")
    try:
        await tester.open()
        return await run.run(tester.run)
    finally:
        await tester.close()
