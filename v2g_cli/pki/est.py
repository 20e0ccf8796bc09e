"""`v2g pki est`, `approve` and `enrol`: certificates over the network by EST (RFC 7030), as server and as client."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from v2g.errors import ConfigError, TimeoutExpired, V2GError
from v2g.observe import Observe
from v2g_cli.output import print_json, say, tell
from v2g_cli.pki import common


def est(
    directory: common.Tree,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 picks a free one.")] = 8443,
    tls: Annotated[str, typer.Option("--tls", help="Name of the server's certificate in the tree.")] = "csms/server",
    client_root: Annotated[
        list[Path] | None, typer.Option(help="Root (PEM) of clients' TLS certificates; repeatable. Else the tree's.")
    ] = None,
    users: Annotated[Path | None, typer.Option(help="File (mode 0600) with a line USER:PASSWORD for each.")] = None,
    role: Annotated[str, typer.Option(help="Role of certificates that are asked for without a label.")] = "secc",
    approve: Annotated[bool, typer.Option("--approve", help="Have a person decide: v2g pki approve.")] = False,
    events: Annotated[Path | None, typer.Option(help="File for one JSON line per event.")] = None,
    json: common.JsonFlag = False,
) -> None:
    """Issue certificates of a tree by EST (RFC 7030) over HTTPS, until SIGTERM.

    Example: `v2g pki est certs/lab --users est.users --approve`

    Labels choose what certificates are for: cpo (chargers), station, oem, veh, mo, cps, gateway, as in
    `https://HOST:8443/.well-known/est/cpo/simpleenroll`. Clients show a TLS certificate, or a password.
    """
    from pki_tools.bounded_http import serve_until_cancelled
    from pki_tools.est import EstService, EstSettings, tls_context
    from pki_tools.index import load_index

    index = load_index(directory)
    folder = (directory / index.find(tls).file).parent
    roots = client_root or [directory / each.file for each in index.entries if each.is_root and not each.replaced]
    context = tls_context(folder / "chain.pem", folder / "leaf.key", roots)
    settings = EstSettings(
        role=common.role_of(role), users={} if users is None else common.users_of(users), approve=approve
    )

    def show(event: Observe) -> None:
        if event.name == "ready":
            say(f"ready: https://{host}:{event.data['port']}/.well-known/est issues for {directory}")
        elif event.name == "enrolment_waits":
            say(f"waits: {event.data['subject']}; v2g pki approve {directory} {event.data['id']}")
        elif event.name == "enrolment":
            say(f"{event.data['what']}: {event.data['role']} {event.data['subject']} {event.data['why']}".rstrip())

    async def serve(observe: Callable[[Observe], None]) -> int:
        service = EstService(directory, settings, observe=observe)
        return await serve_until_cancelled(service.start(host, port, context), service.close, host, observe=observe)

    common.run_until_stopped(serve, show, events, json=json)


def approve(
    directory: common.Tree,
    request: Annotated[str, typer.Argument(metavar="[ID]", help="Request, as the list shows it.")] = "",
    reject: Annotated[bool, typer.Option("--reject", help="Reject it instead.")] = False,
    json: common.JsonFlag = False,
) -> None:
    """List the requests that wait at `v2g pki est --approve`, or decide on one.

    Examples: `v2g pki approve certs/lab`, `v2g pki approve certs/lab secc-0123456789abcdef`
    """
    from pki_tools.est import decide, waiting
    from pki_tools.index import load_index

    load_index(directory)  # else no request waits in a folder with a wrong name
    if request:
        decide(directory, request, approve=not reject)
        decision = "rejected" if reject else "approved"
        tell({"id": request, "decision": decision}, f"{request}: {decision}", json=json)
        return
    found = waiting(directory)
    for number, subject in found:
        tell({"id": number, "subject": subject}, f"{number}  {subject}", json=json)
    if not found and not json:
        say("no request waits")


def enrol(
    url: Annotated[str, typer.Argument(metavar="URL", help="EST server: https://HOST/.well-known/est[/LABEL].")],
    csr: Annotated[Path, typer.Option("--csr", help="Certificate request, as `v2g pki csr` makes it.")],
    role: Annotated[str, typer.Option("--role", help="Role of the certificate: secc, station, gateway, ...")],
    trust: Annotated[list[Path], typer.Option("--trust", help="Root (PEM) of the certificate; repeatable.")],
    out: common.Out = None,
    root: Annotated[Path | None, typer.Option(help="Root (PEM) of the server's TLS; else the system's.")] = None,
    certificate: Annotated[Path | None, typer.Option(help="Own TLS certificate with its chain (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM, mode 0600).")] = None,
    user: Annotated[str, typer.Option(help="User name, in place of a TLS certificate.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="File (mode 0600) with the password.")] = None,
    enrol_path: Annotated[str, typer.Option(help="Path below URL, such as simpleenroll/{iso}.")] = "simpleenroll",
    generation: Annotated[str, typer.Option(help="Profiles of iso15118-20 or iso15118-2.")] = "iso15118-20",
    renew: Annotated[bool, typer.Option("--renew", help="Renew the own TLS certificate.")] = False,
    wait: Annotated[int, typer.Option(min=0, help="Longest wait for a pending answer, s.")] = 3600,
    json: common.JsonFlag = False,
) -> None:
    """Get a certificate from an EST server, and verify it before it is written.

    Examples:

    `v2g pki csr --role secc --cn DEV2GS00000000000000000000000000000001X --key secc.key --out secc.csr`

    `v2g pki enrol https://est.example/.well-known/est/cpo --csr secc.csr --role secc --trust v2g_root.pem
    --user lab --password-file est.password --out secc.pem`

    While the CA has not decided the same request is repeated. Exit code 4 or 5 for a certificate that does not fit.
    """
    from pki_tools.judge import read_file
    from v2g.io.http.est import EnrolmentPending, EstClient
    from v2g.io.http.known_client import EstServer
    from v2g.io.runtime.clock import Clock
    from v2g.pki.certificates import chain_to_pem, key_kind
    from v2g.pki.credentials import load_chain
    from v2g.pki.csr import load_csr
    from v2g.pki.est import lacking
    from v2g.pki.lint import REFUSED_IN_FIELD, lint
    from v2g.pki.verify import VerifiedChain

    if not url.startswith("https://"):
        raise ConfigError(f"{url}: EST needs https://")
    server = EstServer(
        url=url, enrol=enrol_path, root=root, certificate=certificate, key=key, user=user, password_file=password_file
    )
    client, request = EstClient(server, Clock()), load_csr(read_file(csr))
    roots = [der for each in trust for der in load_chain(each)]
    wanted, edition = common.role_of(role), common.generation_of(generation)

    async def ask() -> VerifiedChain:
        left_s = float(wait)
        try:
            lacks = lacking(await client.wanted(key_kind(request.public_key()), edition), request)
        except V2GError as error:
            say(f"what the CA wants in requests is unknown: {error}", err=True)
        else:
            if lacks:
                say(f"{csr}: the CA wants {', '.join(lacks)}, too", err=True)
        while True:
            found = await client.chain(request, roots, role=wanted, generation=edition, renewal=renew)
            if not isinstance(found, EnrolmentPending):
                return found
            if found.pause_s > left_s:
                hint = "repeat the command later: the server knows the request"
                raise TimeoutExpired("the wait for the CA", wait, hint=hint)
            left_s -= found.pause_s
            await asyncio.sleep(found.pause_s)

    with common.progress(f"waiting for {url}"):
        chain = asyncio.run(ask())
    common.write_out(out, chain_to_pem(chain.der).encode())
    for each in lint(chain.der, roots, role=wanted, at=Clock().now()).findings:
        if each.rule in REFUSED_IN_FIELD and not each.edition and not each.place:
            say(f"{chain.subject_cn} {each.text}", err=True)
    if json and out is not None:
        print_json({"file": str(out), "subject": chain.subject_cn, "not_after": chain.leaf.not_valid_after_utc})
    elif out is not None:
        say(
            f"{out}: {chain.subject_cn}, until {chain.leaf.not_valid_after_utc:%Y-%m-%d}, {len(chain.der)} certificates"
        )
