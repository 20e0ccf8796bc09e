"""`v2g conform csms`: tests a third-party back end, as its charging station."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from v2g.errors import ConfigError
from v2g.text import numbered
from v2g_cli.conform.ocpp import ask, cases_of, check_declaration, play, prompts, say_lost, versions_of
from v2g_cli.conform.options import BackEnd, OcppRun, Reports, Selection
from v2g_cli.output import say, write_new
from v2g_cli.station import contexts_of

if TYPE_CHECKING:  # slow to load: other commands do without
    from v2g.ocpp.routes import Version
    from v2g_cli.conform.running import Reporter
    from v2g_testkit.ocpp.declaration import CsmsDeclaration
    from v2g_testkit.ocpp.operator import Operator


def csms(
    back_end: BackEnd,
    run: OcppRun,
    selection: Selection,
    reports: Reports,
    ocpp: Annotated[str, typer.Option("--ocpp", help="1.6, 2.0.1 or 2.1.")] = "2.0.1",
    declaration: Annotated[
        Path | None, typer.Option("--declaration", metavar="FILE", help="What the back end knows and supports (TOML).")
    ] = None,
    declare: Annotated[
        Path | None, typer.Option("--declare", metavar="FILE", help="Write a new declaration to fill in, and exit.")
    ] = None,
    operator: Annotated[
        str | None,
        typer.Option(
            "--operator",
            metavar="COMMAND|URL|v2g[:FILE]",
            help="Who has the back end send requests: a command with {station}, {action}, {payload}, a relay over "
            "HTTP, or the API of v2g-csms with an access file.",
        ),
    ] = None,
    load: Annotated[
        str | None,
        typer.Option(
            "--load",
            metavar="PLAN",
            help="Load instead of cases: small, medium, large, or a TOML file; {identity} in --cert and --key is "
            "replaced.",
        ),
    ] = None,
    passwords: Annotated[
        Path | None, typer.Option("--passwords", help="With --load: CSV of identity,password (mode 0600).")
    ] = None,
) -> None:
    """Test a back end: the tester is a charging station, runs the cases, and judges every frame.

    Requests of the back end are sent by --operator, or asked for with --prompt; without them such cases are not
    exercised. Exit code 1 if a case failed, 3 if none was conclusive. A pass is not a certificate.

    Examples:

    - `v2g conform csms --list --profile Core`
    - `v2g conform csms --declare csms.toml`
    - `v2g conform csms --declaration csms.toml --prompt --html report`
    - `v2g conform csms --declaration csms.toml --operator http://127.0.0.1:9200/step --quick --junit report.xml`
    - `v2g conform csms --load small --url ws://127.0.0.1:9443/ocpp`
    """
    from v2g.io.runtime.clock import Clock
    from v2g_cli.conform.frames import FrameFile
    from v2g_cli.conform.running import list_cases
    from v2g_testkit.ocpp.attempts import Sockets, context_of, declared_attempt
    from v2g_testkit.ocpp.csms_cases.catalogue import CSMS_CASES
    from v2g_testkit.ocpp.csms_tester import CsmsTest, CsmsTester
    from v2g_testkit.ocpp.declaration import CsmsDeclaration, read_csms_declaration, written_csms
    from v2g_testkit.ocpp.run_judge import JudgedTester, RunJudge
    from v2g_testkit.ocpp.v16.csms import CsmsTest16, CsmsTester16
    from v2g_testkit.ocpp.v16.csms_cases import CSMS_CASES_16

    if declare is not None:
        write_new(declare, written_csms(CsmsDeclaration()))
        say(f"{declare}: fill in where stations connect, a station and tokens that the back end knows")
        return
    declared = CsmsDeclaration() if declaration is None else read_csms_declaration(declaration)
    if run.seconds is not None:
        declared = msgspec.structs.replace(declared, seconds=run.seconds)
    (version,) = versions_of([ocpp])
    if load is not None:
        given = {"identity": back_end.identity, "operator": operator, "prompt": run.prompt, "profile": run.profile}
        _refuse_of_cases(**given, resume=reports.resume)
        _load(declared, back_end, version, load, passwords, selection, reports)
        return
    if passwords is not None:
        raise ConfigError("--passwords is for --load", hint="--password, or V2G_STATION_PASSWORD")
    judge = RunJudge("csms", declared.waived, is_16=version == "1.6")
    how = judge.rules, "csms", run.profile or (), declared.profiles, selection
    cases = cases_of(CSMS_CASES_16, *how) if version == "1.6" else cases_of(CSMS_CASES, *how)
    if selection.listed:
        list_cases(cases, json=reports.json)
        return
    if run.check:
        check_declaration(declaration, declared, cases)
        return
    operates = _operator(operator, prompt=run.prompt, as_named=version == "1.6")
    declared = _declared(declared, back_end)
    context_of(declared_attempt(declared))  # files that are not usable end the command here
    lines = FrameFile(run.frames)
    kind = CsmsTester16 if version == "1.6" else CsmsTester
    tester = kind(declared, operates, Sockets(), Clock(), version=version, record=lines.append)
    there = contextlib.nullcontext(declared.station.identity)
    if operator is None and not run.prompt:
        test = CsmsTest16 if version == "1.6" else CsmsTest
        say_lost(cases, test, "OperatorStep", "--operator or --prompt")
    play("csms", JudgedTester(tester, judge), there, cases, reports, lines=lines)


def _declared(declared: "CsmsDeclaration", said: BackEnd) -> "CsmsDeclaration":
    """Return the declaration with options in place of what is declared."""
    given = {"identity": said.identity, "password": said.password, "chain": said.chain, "key": said.key}
    station = msgspec.structs.replace(declared.station, **{name: value for name, value in given.items() if value})
    declared = msgspec.structs.replace(
        declared, station=station, url=said.url or declared.url, ca=declared.ca if said.ca is None else said.ca
    )
    if not declared.url:
        raise ConfigError("no back-end URL given", hint="--url wss://csms.example:9443/ocpp, or `url` in --declaration")
    if not declared.url.startswith(("ws://", "wss://")):
        raise ConfigError(f"--url {declared.url}: not a URL of OCPP", hint="wss://csms.example:9443/ocpp")
    if (station.chain is None) != (station.key is None):
        raise ConfigError("--cert and --key belong together", hint="give both or neither")
    return declared


def _refuse_of_cases(**given: object) -> None:
    """Raise ConfigError for options of cases, which a load would ignore."""
    if named := [f"--{name}" for name, value in given.items() if value]:
        hint = "the plan's `prefix` names the stations" if named == ["--identity"] else "leave out --load, or these"
        raise ConfigError(f"{', '.join(named)}: not with --load", hint=hint)


def _load(
    declared: "CsmsDeclaration",
    said: BackEnd,
    version: "Version",
    plan: str,
    passwords: Path | None,
    selection: Selection,
    reports: Reports,
) -> None:
    """Run a load, or list its criteria."""
    from v2g.io.runtime.program import allow_many_files, fast_loop
    from v2g_cli.conform.running import list_cases
    from v2g_cli.passwords import read_passwords
    from v2g_testkit.cases.report import chosen
    from v2g_testkit.ocpp.load import Load, read_plan
    from v2g_testkit.ocpp.load_criteria import CRITERIA, LoadTester

    only = selection.only or ()
    criteria = chosen(CRITERIA, only, quick=selection.quick)
    if not criteria:
        raise ConfigError(f"no criterion named {' or '.join(only)}", hint="v2g conform csms --load small --list")
    if selection.listed:
        list_cases(criteria, json=reports.json)
        return
    planned = read_plan(plan)
    declared = _declared(declared, said)
    known = {} if passwords is None else read_passwords(passwords)
    station = declared.station
    chain, key = (None if each is None else str(each) for each in (station.chain, station.key))
    load = Load(
        planned,
        declared,
        version,
        context=contexts_of(declared.url, numbered(planned.prefix, planned.stations), declared.ca, chain, key),
        password=lambda identity: known.get(identity, station.password),
    )
    allow_many_files()

    @contextlib.asynccontextmanager
    async def stations() -> AsyncIterator[str]:
        try:
            yield f"{load.stations[0].identity} to {load.stations[-1].identity}"
        finally:
            await load.close()

    def begins(reporter: "Reporter") -> None:
        load.progress = reporter.note

    play("csms", LoadTester(load), stations(), criteria, reports, notice="", begins=begins, loop_factory=fast_loop())


def _operator(text: str | None, *, prompt: bool, as_named: bool) -> "Operator":
    from v2g_testkit.ocpp.operator import NoOperator, PromptOperator, V2gOperator, exchange_with, operator_of

    if prompts("--operator", text, prompt=prompt):
        return PromptOperator(ask)
    if text is None:
        return NoOperator()
    kind, _, file = text.partition(":")
    if kind != "v2g":
        return operator_of(text)
    from v2g_cli.csms.client import context_of, find_access

    access = find_access({}, os.environ, Path(file) if file else None)
    headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
    return V2gOperator(exchange_with(access.url, headers, context_of(access)), as_named=as_named)
