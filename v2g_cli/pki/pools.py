"""`v2g pki pools`: the pools of public Plug & Charge ecosystems, as a laboratory's server and as their client."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from v2g.errors import ConfigError
from v2g.observe import Observe
from v2g_cli.options import with_option_groups
from v2g_cli.output import say, tell
from v2g_cli.pki.common import JsonFlag, Tree, generation_of, now, run_until_stopped, users_of, write_out

if TYPE_CHECKING:
    from v2g.io.http.pools import PoolClient

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown", help="Pools of public Plug & Charge ecosystems.")

Url = Annotated[str, typer.Argument(metavar="URL", help="https://HOST, for OPNC https://HOST/opnc/v1.")]
Edition = Annotated[str, typer.Option(help="iso15118-20 or iso15118-2.")]


class PoolAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks a pool, and how its server is known."""

    client: Annotated[str, typer.Option("--client", help="Client ID of OAuth 2.0.")]
    secret_file: Annotated[
        Path | None, typer.Option("--secret-file", help="File (mode 0600) with the client secret.")
    ] = None
    shape: Annotated[str, typer.Option(help="opcp or opnc.")] = "opcp"
    root: Annotated[Path | None, typer.Option(help="Root (PEM) of the server's TLS; else the system's.")] = None
    token_url: Annotated[str, typer.Option(help="Token endpoint; else /oauth/token of the same server.")] = ""

    def at(self, url: str) -> "PoolClient":
        """Return the client of a pool. Raises ConfigError."""
        from v2g.io.http.known_client import OauthClient
        from v2g.io.http.pools import PoolClient, PoolServer
        from v2g.io.runtime.clock import Clock

        if not url.startswith("https://") or self.shape not in ("opcp", "opnc"):
            raise ConfigError(f"{url}, {self.shape}: pools need https://, and a shape: opcp or opnc")
        if self.secret_file is None:
            raise ConfigError("a client secret is needed", hint="--secret-file FILE, mode 0600")
        token = self.token_url or f"https://{url.removeprefix('https://').partition('/')[0]}/oauth/token"
        oauth = OauthClient(url=token, client_id=self.client, client_secret_file=self.secret_file)
        return PoolClient(PoolServer(url=url, shape=self.shape, root=self.root, oauth=oauth), Clock())  # type: ignore[arg-type]


@app.command()
def serve(
    directory: Tree,
    clients: Annotated[Path, typer.Option(help="File (mode 0600) with a line CLIENT_ID:SECRET for each.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 picks a free one.")] = 8444,
    tls: Annotated[str, typer.Option("--tls", help="Name of the server's certificate in the tree.")] = "csms/server",
    events: Annotated[Path | None, typer.Option(help="File for one JSON line per event.")] = None,
    json: JsonFlag = False,
) -> None:
    """Serve pools of roots, provisioning certificates and contracts around a tree, until SIGTERM.

    Example: `v2g pki pools serve certs/lab --clients pools.clients`

    OPCP's paths are at the server's root, OPNC's at /opnc/v1, tokens at /oauth/token.
    """
    from pki_tools.bounded_http import serve_until_cancelled
    from pki_tools.est import tls_context
    from pki_tools.index import load_index
    from pki_tools.pools import PoolService

    folder = (directory / load_index(directory).find(tls).file).parent
    context, known = tls_context(folder / "chain.pem", folder / "leaf.key", ()), users_of(clients)

    def show(event: Observe) -> None:
        if event.name == "ready":
            say(f"ready: https://{host}:{event.data['port']} has the pools of {directory}")
        elif event.name == "pool_contract":
            say(f"contract: {event.data['emaid']} for {event.data['pcid']}")

    async def run(observe: Callable[[Observe], None]) -> int:
        service = PoolService(directory, known, observe=observe)
        return await serve_until_cancelled(service.start(host, port, context), service.close, host, observe=observe)

    run_until_stopped(run, show, events, json=json)


@app.command()
@with_option_groups
def roots(
    url: Url,
    account: PoolAccount,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for a PEM file of each.")] = None,
    json: JsonFlag = False,
) -> None:
    """List the roots of an ecosystem, and write them as PEM.

    Example: `v2g pki pools roots https://pool.example --client me --secret-file pool.secret --out roots`
    """
    from v2g.pki.certificates import chain_to_pem, load_certificate

    pool = account.at(url)
    for each in asyncio.run(pool.roots()):
        certificate, kinds = load_certificate(each.certificate), "+".join(each.kinds)
        until = certificate.not_valid_after_utc
        subject = certificate.subject.rfc4514_string()
        record = {"kinds": each.kinds, "subject": subject, "not_after": until, "fingerprint": each.fingerprint}
        tell(record, f"{kinds:8}  {until:%Y-%m-%d}  {each.fingerprint[:16]}  {subject}", json=json)
        if out is not None:
            write_out(out / f"{kinds}-{each.fingerprint[:16]}.pem", chain_to_pem((each.certificate,)).encode())


@app.command()
@with_option_groups
def register(
    url: Url,
    chain: Annotated[Path, typer.Option("--chain", help="PEM of the provisioning certificate, its sub-CAs after it.")],
    account: PoolAccount,
    edition: Edition = "iso15118-20",
    json: JsonFlag = False,
) -> None:
    """Store the provisioning certificate of a vehicle, as its maker does.

    Example: `v2g pki pools register https://pool.example --chain certs/lab/provisioning/chain.pem --client me
    --secret-file pool.secret`
    """
    from v2g.iso15118.foreign_contracts import NAMESPACES
    from v2g.pki.certificates import common_name, load_certificate
    from v2g.pki.credentials import load_chain

    pool, found = account.at(url), load_chain(chain)
    asyncio.run(pool.add_provisioning(found, NAMESPACES[generation_of(edition)]))
    pcid = common_name(load_certificate(found[0]))
    tell({"pcid": pcid}, f"{pcid} is registered", json=json)


@app.command()
@with_option_groups
def contract(
    url: Url,
    emaid: Annotated[str, typer.Option(help="Contract identifier (EMAID).")],
    pcid: Annotated[str, typer.Option(help="The vehicle's provisioning identifier (PCID).")],
    account: PoolAccount,
    edition: Edition = "iso15118-20",
    days: Annotated[int, typer.Option(min=1, max=730, help="Until when the contract counts.")] = 365,
    json: JsonFlag = False,
) -> None:
    """Have a contract made, signed and stored for a vehicle, as a provider without a PKI of its own does.

    Example: `v2g pki pools contract https://pool.example --emaid DEABC1234567890 --pcid WMIV2GENGINE00001X --client me
    --secret-file pool.secret`
    """
    from v2g.iso15118.foreign_contracts import NAMESPACES
    from v2g.pki.pools import ContractOrder

    pool, begins = account.at(url), now().replace(microsecond=0)
    order = ContractOrder(
        emaid=emaid,
        pcid=pcid,
        contract_begins=_time(begins),
        contract_ends=_time(begins + timedelta(days=days)),
        namespace=NAMESPACES[generation_of(edition)],
    )
    asyncio.run(pool.generate(order))
    tell({"emaid": emaid, "pcid": pcid}, f"{emaid} is in the pool for {pcid}", json=json)


@app.command()
@with_option_groups
def sign(
    url: Url,
    chain: Annotated[Path, typer.Option("--chain", help="PEM of the contract certificate, its sub-CAs after it.")],
    key: Annotated[Path, typer.Option("--key", help="Its key (PEM, mode 0600), which is sealed for the vehicle.")],
    pcid: Annotated[str, typer.Option(help="The vehicle's provisioning identifier (PCID).")],
    account: PoolAccount,
    edition: Edition = "iso15118-20",
    json: JsonFlag = False,
) -> None:
    """Have a contract signed and stored for a vehicle, as a provider with a PKI of its own does.

    Example: `v2g pki pools sign https://pool.example --chain certs/lab/contract/chain.pem
    --key certs/lab/contract/leaf.key --pcid WMIV2GENGINE00001X --client me --secret-file pool.secret`
    """
    import os

    from v2g.iso15118.engine.contracts import Contract
    from v2g.iso15118.foreign_contracts import sealed
    from v2g.pki.credentials import load_chain
    from v2g.pki.keys import load_private_key

    pool, generation = account.at(url), generation_of(edition)
    contract = Contract(load_chain(chain), load_private_key(key))

    async def store() -> None:
        vehicle = await pool.provisioning(pcid)
        if vehicle is None:
            raise ConfigError(f"the pool knows no vehicle {pcid[:20]}", hint="its maker registers it")
        await pool.sign(sealed(contract, vehicle[0], generation, os.urandom), store=True)

    asyncio.run(store())
    tell({"emaid": contract.emaid, "pcid": pcid}, f"{contract.emaid} is in the pool for {pcid}", json=json)


@app.command()
@with_option_groups
def subscribe(
    url: Url,
    to: Annotated[str, typer.Option("--to", help="Where events are sent: https://BACK-END/trust/events.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File (mode 0600) for the secret that signs them.")],
    account: PoolAccount,
    event: Annotated[list[str] | None, typer.Option(help="Event; repeatable. By default those about roots.")] = None,
    json: JsonFlag = False,
) -> None:
    """Have events of an ecosystem sent to a back end, and keep the secret that `trust_list.secret_file` names.

    Example: `v2g pki pools subscribe https://pool.example --to https://csms.example:8443/trust/events
    --out event.secret --client me --secret-file pool.secret`
    """
    from v2g.pki.keys import save_secret

    pool = account.at(url)
    number, secret = asyncio.run(pool.subscribe(to, event or ("root.cert.added", "root.cert.expired")))
    save_secret(out, secret.encode())
    tell({"id": number, "secret_file": str(out)}, f"{number}: the secret is in {out}", json=json)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
