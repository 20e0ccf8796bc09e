"""`v2g contracts`: the contract pool of a back end."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from v2g.errors import ConfigError
from v2g_cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from csms.config import CsmsConfig, Provisioning

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")
ConfigFile = Annotated[Path, typer.Option("--config", help="The back end's configuration, with [provisioning].")]
JsonFlag = Annotated[bool, typer.Option("--json", help="One JSON record per line.")]
Pcid = Annotated[str, typer.Option(help="Vehicle: CN of its provisioning certificate (PCID).")]


@app.command()
def add(
    config: ConfigFile,
    pcid: Pcid,
    chain: Annotated[Path, typer.Option(help="Contract certificate and its sub-CAs (PEM).")],
    key: Annotated[str, typer.Option(help="Its private key: PEM file, or key URI; the pool encrypts it.")],
    json: JsonFlag = False,
) -> None:
    """Add a contract to the pool. Vehicles can install it at once, without a restart.

    Example: `v2g contracts add --config csms.toml --pcid WMIV2GENGINE00001X --chain contract/chain.pem
    --key contract/leaf.key`

    The back end also needs a token with the EMAID: without it the contract does not authorise charging.
    """
    from csms.contracts.pool import open_pool
    from csms.contracts.rules import contract_fault
    from csms.tokens.rules import CONTRACT, normalise
    from csms.trust.certificate_status import load_anchors
    from v2g.io.keys.stores import load_credentials
    from v2g_cli.pki.keys import reference_of

    settings, own = _load(config)
    anchors = load_anchors(settings.trust)
    credentials = load_credentials(chain, reference_of(key))
    interop = settings.trust.profile == "interop"
    entry = open_pool(own.pool).add(pcid, credentials.chain, credentials.private_key, interop=interop)
    known = {normalise(each.type, each.id_token) for each in settings.tokens if each.type == CONTRACT}
    has_token = normalise(CONTRACT, entry.emaid) in known
    problem = contract_fault(credentials.chain, anchors, datetime.now(UTC))
    if json:
        record = {"pcid": entry.pcid, "emaid": entry.emaid, "file": str(entry.file)}
        print_json(record | {"problem": problem, "has_token": has_token})
        return
    say(f"{entry.emaid} is {'in the pool for' if problem else 'available to'} {entry.pcid}: {entry.file}")
    if problem:
        say(f"     it cannot be delivered now: {problem}", err=True)
    if not has_token:
        say(f"     {config} has no token for {entry.emaid}: add it to [[tokens]], otherwise it cannot charge", err=True)


@app.command("list")
def list_(config: ConfigFile, json: JsonFlag = False) -> None:
    """List the contracts in the pool, their expiry, and those that cannot be delivered now.

    Example: `v2g contracts list --config csms.toml`
    """
    from csms.contracts.pool import open_pool
    from csms.contracts.rules import contract_fault
    from csms.trust.certificate_status import load_anchors

    settings, own = _load(config)
    anchors, at = load_anchors(settings.trust), datetime.now(UTC)
    entries = list(open_pool(own.pool).entries(lambda chain: contract_fault(chain, anchors, at)))
    if json:
        for entry in entries:
            print_json({**msgspec.structs.asdict(entry), "file": str(entry.file)})
        return
    rows = (
        (each.pcid, each.emaid, f"{each.not_after:%Y-%m-%d}" if each.not_after else "", each.problem)
        for each in entries
    )
    print_table("Contracts", ("vehicle", "contract", "until", "problem"), rows)


@app.command()
def remove(
    config: ConfigFile,
    pcid: Pcid,
    emaid: Annotated[str, typer.Option(help="EMAID of the contract.")],
    json: JsonFlag = False,
) -> None:
    """Remove a contract from the pool. A vehicle that has installed it keeps it: revoke the certificate, too.

    Example: `v2g contracts remove --config csms.toml --pcid WMIV2GENGINE00001X --emaid DEV2GC00000001`
    """
    from csms.contracts.pool import open_pool
    from v2g.pki.certificates import normalize_emaid

    removed = open_pool(_load(config)[1].pool).remove(pcid, normalize_emaid(emaid))
    if not removed:
        raise ConfigError(f"the pool has no contract {emaid} for {pcid}", hint="see `v2g contracts list`")
    if json:
        print_json({"pcid": pcid, "emaid": emaid, "removed": removed})
    else:
        say(f"{removed} certificate{'s' if removed > 1 else ''} removed")


def _load(path: Path) -> "tuple[CsmsConfig, Provisioning]":
    from csms.config import load_config

    config = load_config(path)
    if config.provisioning is None:
        raise ConfigError(f"{path} has no [provisioning]", hint="set pool, chain, key and oem_roots there")
    return config, config.provisioning
