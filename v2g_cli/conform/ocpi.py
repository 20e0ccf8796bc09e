"""`v2g conform ocpi`: tests a roaming platform, as its partner: operator, provider and hub."""

import asyncio
import shlex
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import msgspec
import typer

from v2g.errors import ConfigError
from v2g.ocpi.wire import VERSIONS, Version
from v2g_cli.conform.options import Reports, Selection
from v2g_cli.options import seen_by_others
from v2g_cli.output import say

if TYPE_CHECKING:  # slow to load: other commands do without
    from collections.abc import Sequence

    from v2g_cli.conform.running import LabRun
    from v2g_testkit.cases.case import Described, Result
    from v2g_testkit.ocpi.partner import LabPartner, OcpiBench

NOTICE = (
    "These cases are this project's own, by the published specification of OCPI; there is no public test suite, and a "
    "pass is not a certificate."
)


TokenA = Annotated[
    str,
    typer.Option(
        "--token",
        envvar="V2G_OCPI_TOKEN",
        callback=seen_by_others,
        help="Token of the first contact (A), new for each run.",
    ),
]


class Lab(msgspec.Struct, frozen=True):
    """Where the lab is, and how it is reached."""

    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where the platform calls the lab; port 0 chooses one.")
    ] = "127.0.0.1:0"
    url: Annotated[str, typer.Option("--url", help="How it reaches that: https://HOST:PORT; default: as it is.")] = ""
    chain: Annotated[Path | None, typer.Option("--cert", help="PEM chain of the lab: TLS.")] = None
    key: Annotated[Path | None, typer.Option("--key", help="Its key, mode 0600.")] = None
    ca: Annotated[Path | None, typer.Option("--ca", help="PEM root of the platform's certificate.")] = None
    version: Annotated[str, typer.Option("--version", help="2.2.1 or 2.3.0.")] = "2.2.1"
    bare_token: Annotated[bool, typer.Option("--bare-token", help="Tokens are written without base64.")] = False
    pull: Annotated[
        str, typer.Option("--pull", metavar="COMMAND", help="Command that makes the platform pull the lab's lists.")
    ] = ""
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=0.5, max=600, help="How long the platform may take.")
    ] = 10.0


def ocpi(
    versions: Annotated[str, typer.Argument(help="URL of the platform's versions: https://HOST/ocpi/versions.")],
    selection: Selection,
    reports: Reports,
    lab: Lab,
    token: TokenA = "",
) -> None:
    """Test a roaming platform: the lab registers as its partner, does right and wrong, and judges all that it says.

    Exit code 1 if a case failed, 3 if nothing was conclusive.

    Examples:

    - `v2g conform ocpi --list https://csms.example/ocpi/versions`
    - `v2g conform ocpi https://csms.example/ocpi/versions --listen 0.0.0.0:8443 --url https://lab.example:8443`
    """
    from v2g_cli.conform.frames_page import exchanges_page
    from v2g_cli.conform.running import LabRun
    from v2g_testkit.ocpi.cases import CASES
    from v2g_testkit.ocpi.judge import RULES
    from v2g_testkit.ocpi.partner import LabPartner

    every: Sequence[Described] = (*CASES, *RULES)
    run = LabRun("ocpi", every, selection, reports, NOTICE)
    partner = LabPartner(*_bench(versions, token, lab))

    def page(case: str, title: str) -> str | None:
        return exchanges_page(title, [each for each in partner.exchanges if each.case == case])

    run.prepare()
    run.end(asyncio.run(_run(partner, lab.pull, run, say_where=not reports.json)), page)


def _bench(versions: str, token: str, lab: Lab) -> "tuple[OcpiBench, ssl.SSLContext | None, ssl.SSLContext | None]":
    from v2g.io.tls.files import server_context
    from v2g_testkit.ocpi.partner import OcpiBench

    if not token:
        raise ConfigError("no token of the first contact", hint="V2G_OCPI_TOKEN=... or --token")
    if lab.version not in get_args(Version):
        raise ConfigError(f"--version {lab.version}", hint=" or ".join(VERSIONS))
    if (lab.chain is None) != (lab.key is None):
        raise ConfigError("--cert and --key belong together", hint="give both or neither")
    host, _, port = lab.listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--listen {lab.listen}: not HOST:PORT", hint="0.0.0.0:8443")
    bench = OcpiBench(
        versions_url=versions, token=token, version=VERSIONS[VERSIONS.index(lab.version)], url=lab.url,
        listen=(host.strip("[]"), int(port)), bare_token=lab.bare_token, seconds=lab.seconds,
    )  # fmt: skip
    try:
        context = ssl.create_default_context(cafile=lab.ca)
    except OSError as error:
        raise ConfigError(f"--ca: {error}", hint="a PEM file of roots") from None
    return bench, None if lab.chain is None or lab.key is None else server_context(lab.chain, lab.key, ()), context


async def _run(partner: "LabPartner", pull: str, run: "LabRun[Described]", *, say_where: bool) -> "list[Result]":
    from v2g_testkit.ocpi.cases import OcpiCase, run_case
    from v2g_testkit.ocpi.judge import judge_run
    from v2g_testkit.ocpp.driver import exit_code

    async def pulled() -> bool:
        return await exit_code("--pull", shlex.split(pull), 60.0) == 0

    async def one(row: "Described") -> "Result":
        if isinstance(row, OcpiCase):
            return await run_case(partner, row, known, pulled if pull else None)
        if not judged:
            judged.update({each.case: each for each in judge_run(partner)})
        return judged[row.id]

    known: dict[str, object] = {}
    judged: dict[str, Result] = {}
    partner.open()
    try:
        if say_where:
            say(f"the lab listens at {partner.url}")
        return await run.run(one)
    finally:
        partner.close()
