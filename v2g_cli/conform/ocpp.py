"""What the tests of charging stations and of back ends share: choosing cases, running them, asking a person."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import msgspec
import typer

from v2g import typed_json
from v2g.config import values_in
from v2g.errors import ConfigError
from v2g.ocpp.routes import Version
from v2g_cli.conform.options import Reports, Selection
from v2g_cli.output import say

if TYPE_CHECKING:  # slow to load: other commands do without
    from v2g_cli.conform.frames import FrameFile
    from v2g_cli.conform.running import Reporter
    from v2g_testkit.cases.case import Described, Result
    from v2g_testkit.ocpp.case import CaseTest, OcppCase
    from v2g_testkit.ocpp.connection import Frame
    from v2g_testkit.ocpp.run_judge import RunRule

T = TypeVar("T")
C = TypeVar("C", bound="Described")
K = TypeVar("K", bound="Described", contravariant=True)

NOTICE = (
    "These scripts are this project's own. Ids and names are those of the certification cases of OCPP 1.6, or 2.0.1 "
    "part 6, where they correspond. A pass is not a certificate."
)


class Tester(Protocol[K]):
    """Runs a case; `frames` are those of the latest one."""

    frames: "list[Frame]"

    async def run(self, case: K, /) -> "Result":
        """Return the result of a case."""

    async def reboot(self) -> bool:
        """Have the device restarted, because it is stuck; return whether that was possible."""


def cases_of(
    catalogue: Sequence["OcppCase[T]"],
    rules: "Sequence[RunRule]",
    command: str,
    profiles: Sequence[str],
    declared: Sequence[str],
    selection: Selection,
) -> "list[Described]":
    """Return the cases of some profiles (else of declared ones, else all), and rules of the run, all or by their ids.

    Raises ConfigError.
    """
    from v2g_testkit.cases.report import chosen

    known = sorted({each for case in catalogue for each in case.profiles})
    if unknown := [each for each in profiles if each not in known]:
        raise ConfigError(f"--profile {unknown[0]}: no case has this profile", hint=", ".join(known))
    wanted, only, skip = set(profiles or declared), selection.only or (), selection.skip or ()
    of_profiles = [case for case in catalogue if not wanted or wanted & set(case.profiles)]
    found = chosen(of_profiles, only, skip=skip, quick=selection.quick)
    judged = chosen(rules, only, skip=skip)
    if not found and not (only and judged):
        named = f"no case named {' or '.join(only)}" if only else "no case of these profiles is a quick one"
        raise ConfigError(named, hint=f"v2g conform {command} --list")
    return [*found, *judged]


def check_declaration(file: Path | None, declared: Any, cases: "Sequence[Described]") -> None:
    """Say which cases a declaration, which can be read, rules out. Raises ConfigError for what it cannot mean."""
    if file is None:
        raise ConfigError("--check needs a declaration", hint="--declaration FILE")
    from v2g_cli.conform.running import say_ruled_out

    for where, value, _ in values_in(declared):
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path) and not path.is_file():
                hint = "paths are relative to the declaration"
                raise ConfigError(f"{file}: {where[0]}: there is no file {path}", hint=hint)
    lacking = {name for name, has in declared.supports.items() if not has}

    def why(case: "Described") -> str:
        found = sorted(lacking & set(getattr(case, "needs", ())))
        return f"declared: {', '.join(found)} = false" if found else ""

    say_ruled_out(file, cases, why, "cases and rules")


def play(
    kind: str,
    tester: Tester[C],
    device: "AbstractAsyncContextManager[str]",
    cases: Sequence[C],
    reports: Reports,
    *,
    lines: "FrameFile | None" = None,
    notice: str = NOTICE,
    begins: "Callable[[Reporter], None]" = lambda _: None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> NoReturn:
    """Run cases with a device, which is there in the context, by its identity; report, and exit with the exit code.

    `lines` is the file of the tester's frames, which gets the case; `begins` gets what shows progress.
    """
    from v2g_cli.conform import report
    from v2g_cli.conform.frames import read_frames, records_of
    from v2g_cli.conform.frames_page import frames_page
    from v2g_cli.conform.running import Reporter, describe, ending, read_results, run_cases, write_reports
    from v2g_testkit.cases.case import Result, Verdict
    from v2g_testkit.ocpp.connection import Frame
    from v2g_testkit.ocpp.run_judge import RULES

    html = reports.html
    report.prepare(reports.junit, html)
    rules = {rule.id for rule in RULES}  # judged again, unless they have failed
    earlier = [] if reports.resume is None else read_results(reports.resume)
    done = [each for each in earlier if each.case not in rules or each.verdict is Verdict.FAIL]
    about = describe(reports.device)
    seen: dict[str, list[Frame]] = {} if reports.resume is None else read_frames(reports.resume)

    async def one(case: C) -> Result:
        if lines is not None and case.id not in rules:
            lines.case = case.id
        result = await tester.run(case)
        seen[case.id] = tester.frames
        if html is not None:
            report.write_page(html, case, page, result)
        return result

    async def run() -> list[Result]:
        async with device as about["identity"]:
            begins(reporter)
            return await run_cases(one, cases, reporter, done, reboot=tester.reboot, without_device=rules)

    def page(case: str, title: str) -> str | None:
        return frames_page(title, seen[case]) if seen.get(case) else None

    reporter = Reporter(
        cases, about, json=reports.json, notice=notice, more=lambda case: {"frames": records_of(seen.get(case, ()))}
    )
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        results = runner.run(run())
    found = about, cases, results, page
    write_reports(kind, *found, junit=reports.junit, html=html, json=reports.json, notice=notice)
    raise typer.Exit(ending(results, cases, stuck=bool(reporter.stuck), rules=rules))


def versions_of(names: list[str] | None) -> tuple[Version, ...]:
    """Return the versions of an option; 1.6 stands alone. Raises ConfigError."""
    try:
        versions = tuple(typed_json.convert(each, Version) for each in names or ["2.0.1"])
    except msgspec.ValidationError:
        hint = "1.6, 2.0.1 or 2.1"
        raise ConfigError(f"--ocpp {' '.join(names or ())}: no cases for this version", hint=hint) from None
    if "1.6" in versions and len(versions) > 1:
        raise ConfigError("--ocpp 1.6: its cases are for no other version", hint="a run for each")
    return versions


def say_lost(cases: Sequence[C], test: "type[CaseTest]", step: str, options: str) -> None:
    """Say before a run without a driver how many of its cases are lost."""
    from v2g_testkit.ocpp.driver import by_hand

    lost = sum(by_hand(getattr(case, "script", None), test, step) for case in cases)
    if lost:
        say(f"{lost} of {len(cases)} cases need somebody, and are not exercised without {options}", err=True)


async def ask(sentence: str) -> str:
    """Show a sentence at the terminal; return the answer."""
    return await asyncio.to_thread(input, f"{sentence} ")


def prompts(option: str, given: str | None, *, prompt: bool) -> bool:
    """Return whether steps are asked for at the terminal. Raises ConfigError with another option, or without one."""
    if given is not None and prompt:
        raise ConfigError(f"{option} and --prompt exclude each other", hint="give one of them")
    if prompt and not sys.stdin.isatty():
        raise ConfigError("--prompt needs a terminal", hint=f"{option} COMMAND")
    return prompt
