"""`v2g csms`: stations, what they are asked, who may connect, and which tokens charge."""

import contextlib
import itertools
import json as json_
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

import typer

from csms.admission.rules import MAX_PASSWORDS
from v2g.errors import ConfigError, OcppError, RefusedError, TrustError
from v2g.text import numbered
from v2g.typed_json import Fields
from v2g_cli.csms.client import LOST, CsmsClient
from v2g_cli.csms.commands import moment_of
from v2g_cli.csms.show import (
    JsonFlag,
    Limit,
    StationName,
    client_of,
    columns_of,
    moment,
    part,
    plain,
    refusal,
    show,
    show_one,
)
from v2g_cli.output import print_json, say

_MOST = 10_000
"""Records that a list of stations gathers from other lists."""


def stations(
    context: typer.Context,
    text: Annotated[str | None, typer.Option("--text", help="Only those with this text in their identity.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only those with a connector of this status, such as Faulted.")
    ] = None,
    connected: Annotated[
        bool | None, typer.Option("--connected/--offline", help="Only those that are, or are not, connected.")
    ] = None,
    limit: Limit = 100,
    json: JsonFlag = False,
) -> None:
    """List stations: states of connectors, power of transactions, what alerts say of them, and their sites.

    Examples: `v2g csms stations`, `v2g csms stations --status Faulted`
    """
    client = client_of(context)
    powers: dict[str, Decimal] = {}
    faults: dict[str, list[str]] = {}
    sites: dict[str, str] = {}

    def whole(row: Fields) -> Fields:
        name = row["station_id"]
        plugs = (f"{each['evse_id']}/{each['connector_id']} {each['status']}" for each in row["connectors"])
        about = {"power_w": powers.get(name), "site": sites.get(name), "faults": ", ".join(faults.get(name, ()))}
        return row | {"plugs": ", ".join(plugs)} | about

    columns = columns_of(
        "station: station_id, connected, protocol, boot: boot_status, connectors: plugs, W: power_w, alerts: faults, "
        "site, vendor, model, firmware, last_seen_ms"
    )
    if not json:
        with contextlib.suppress(TrustError):  # a role may see stations without transactions
            for each in client.pages("/transactions", _MOST, active=True):
                if each["power_w"] is not None:
                    station_id = each["station_id"]
                    powers[station_id] = powers.get(station_id, Decimal(0)) + Decimal(each["power_w"])
        with contextlib.suppress(TrustError):
            for each in client.pages("/alerts", _MOST, active=True):
                if each["subject_kind"] == "station":
                    faults.setdefault(each["subject"], []).append(each["kind"])
        with contextlib.suppress(TrustError):
            for site in client.pages("/sites", _MOST):
                sites.update(dict.fromkeys((each["station_id"] for each in site["places"]), site["id"]))
    rows = client.pages("/stations", limit, text=text, status=status, connected=connected)
    show(rows, "Stations", columns, json=json, present=whole)


def send(
    context: typer.Context,
    name: StationName,
    action: Annotated[str, typer.Argument(metavar="ACTION", help="OCPP action, such as GetVariables.")],
    payload: Annotated[str, typer.Argument(metavar="JSON", help="JSON payload.")] = "{}",
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds to wait for the station's answer.")] = 30.0,
    json: JsonFlag = False,
) -> None:
    """Send a request to a station and print its answer.

    A station of OCPP 1.6 takes actions of 2.0.1, which are translated, and those of 1.6 as they are. The exit code is 3
    if the station rejects the request.

    Examples: `v2g csms send CS-V2G-0001 Reset '{"type": "OnIdle"}'`,
    `v2g csms send CS-16 GetConfiguration '{"key": ["HeartbeatInterval"]}'`
    """
    try:
        body = json_.loads(payload)
    except ValueError as error:
        raise ConfigError(f"the payload is not JSON: {error}", hint='quote it: \'{"type": "OnIdle"}\'') from None
    path = f"/stations/{part(name)}/commands/{part(action)}"
    answer = client_of(context).ask("POST", path, body, timeout_s=timeout).body
    show_one(answer, json=json)
    if refused := refusal(answer):
        raise OcppError(f"{name} answered {action} with {refused}", answer=refused)


def admissions(
    context: typer.Context,
    undecided: Annotated[bool, typer.Option("--undecided", help="Only stations without a decision.")] = False,
    json: JsonFlag = False,
) -> None:
    """List admitted stations, connection attempts, and why they failed.

    Example: `v2g csms admissions`
    """
    client = client_of(context)
    found = client.ask("GET", "/admissions", undecided=True if undecided else None).body
    faults = client.ask("GET", "/admissions/faults").body
    if json:
        for row in (*found, *faults):
            print_json(row)
        return
    columns = "station: station_id, decided: boot, by: decided_by, profile: security_profile, offers: offered, address"
    show(found, "Admissions", columns_of(f"{columns}, last_seen_ms"), json=False)
    columns = "station: station_id, times, last_ms, what: detail, do: hint"
    show(faults, "Failed connection attempts", columns_of(columns), json=False)


def admit(
    context: typer.Context,
    name: StationName,
    refuse: Annotated[bool, typer.Option("--refuse", help="Reject the station instead.")] = False,
    pending: Annotated[
        bool, typer.Option("--pending", help="Accept its connection but do not let it charge yet (Pending).")
    ] = False,
    expired_for: Annotated[
        int | None,
        typer.Option(
            "--expired-for", help="Accept its expired certificate for this many days, so that it can renew it."
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Admit a station.

    Examples: `v2g csms admit CS-V2G-0001`, `v2g csms admit CS-V2G-0001 --expired-for 7`
    """
    if refuse + pending + (expired_for is not None) > 1:
        raise ConfigError("--refuse, --pending and --expired-for exclude each other", hint="v2g csms admit --help")
    if expired_for is not None:
        path = f"/admissions/{part(name)}/expired-certificate"
        show_one(client_of(context).ask("PUT", path, {"days": expired_for}).body, json=json)
        return
    decision = "Refused" if refuse else "Pending" if pending else "Accepted"
    show_one(client_of(context).ask("PUT", f"/admissions/{part(name)}", {"decision": decision}).body, json=json)


def start(
    context: typer.Context,
    name: StationName,
    id_token: Annotated[str, typer.Argument(metavar="TOKEN", help="Token of the driver.")],
    kind: Annotated[str, typer.Option("--type", help="Token type, such as ISO14443, eMAID, Central.")] = "Central",
    evse: Annotated[int | None, typer.Option("--evse", help="EVSE id.")] = None,
    json: JsonFlag = False,
) -> None:
    """Ask a station to start a transaction.

    Example: `v2g csms start CS-V2G-0001 04A1B2C3 --type ISO14443 --evse 1`
    """
    body: dict[str, object] = {"id_token": {"idToken": id_token, "type": kind}}
    if evse is not None:
        body["evse_id"] = evse
    show_one(client_of(context).ask("POST", f"/stations/{part(name)}/transactions", body).body, json=json)


def events(
    context: typer.Context,
    kinds: Annotated[list[str] | None, typer.Argument(metavar="[KIND]...", help="Only events of these kinds.")] = None,
    name: Annotated[str | None, typer.Option("--station", help="Only events of this station.")] = None,
    frames: Annotated[bool, typer.Option("--ocpp", help="Show OCPP frames instead.")] = False,
    count: Annotated[int | None, typer.Option("--count", min=1, help="Exit after this many events.")] = None,
    json: JsonFlag = False,
) -> None:
    """Stream events until interrupted.

    Examples: `v2g csms events transaction_started transaction_ended`, `v2g csms events --ocpp --station CS-V2G-0001`
    """
    client = client_of(context)
    path = "/ocpp-log" if frames else "/events"
    query = {"station_id": name} | ({"kinds": ",".join(kinds)} if kinds and not frames else {})
    for kind, event in itertools.islice(client.events(path, **query), count):
        if json:
            print_json({"kind": kind, **event})
        else:
            say(_line(kind, event))


def _line(kind: str, event: Fields) -> str:
    data = event["data"]
    if kind == "ocpp_frame":
        arrow = "→" if data["direction"] == "sent" else "←"
        return f"{moment(event['at_ms'])} {event['station_id']} {arrow} {data['text']}"
    shown = " ".join(f"{name}={plain(value)}" for name, value in data.items())
    return f"{moment(event['at_ms'])} {event['station_id'] or '-'} {kind} {shown}"


# -- settings


_NAME: Final = re.compile(
    r"(?P<component>[^.\[\]#]+)(#(?P<evse>[0-9]+))?\.(?P<variable>[^.\[\]]+)(\[(?P<instance>.+)\])?"
)
_SET: Final = ("Accepted", "RebootRequired")


def set_variable(
    context: typer.Context,
    name: StationName,
    variable: Annotated[
        str,
        typer.Argument(
            metavar="VARIABLE", help="Variable, such as OCPPCommCtrlr.HeartbeatInterval or EVSE#1.Power[Max]."
        ),
    ],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="New value.")],
    json: JsonFlag = False,
) -> None:
    """Set a variable of a station and print its answer.

    Example: `v2g csms set CS-V2G-0001 OCPPCommCtrlr.HeartbeatInterval 600`
    """
    found = _NAME.fullmatch(variable)
    if found is None:
        raise ConfigError(
            f"{variable!r} is not the name of a variable", hint="COMPONENT.VARIABLE, COMPONENT#EVSE.VARIABLE[INSTANCE]"
        )
    component: dict[str, object] = {"name": found["component"]}
    if found["evse"]:
        component["evse"] = {"id": int(found["evse"])}
    which = {"name": found["variable"]} | ({"instance": found["instance"]} if found["instance"] else {})
    wanted = {"component": component, "variable": which, "attributeValue": value}
    (result,) = client_of(context).ask("POST", f"/stations/{part(name)}/variables", {"variables": [wanted]}).body
    show_one(result, json=json)
    if result["attributeStatus"] not in _SET:
        raise OcppError(f"the station answered {result['attributeStatus']}", answer=result["attributeStatus"])


# -- passwords


def password(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(metavar="[STATION]...", help="Identities of stations.")] = None,
    file: Annotated[Path | None, typer.Option("--import", help="CSV of identity,password to set, mode 0600.")] = None,
    generate: Annotated[
        Path | None, typer.Option("--generate", help="New file, CSV of mode 0600, for random passwords.")
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            "--count", min=0, max=MAX_PASSWORDS, help="Number of stations, with the same names as in `v2g station`."
        ),
    ] = 0,
    prefix: Annotated[str, typer.Option("--prefix", help="Prefix of their identities.")] = "SIM",
    replace: Annotated[bool, typer.Option("--replace", help="Also replace existing passwords.")] = False,
    admit: Annotated[bool, typer.Option("--admit", help="Also admit these stations.")] = False,
) -> None:
    """Set passwords of stations, all or none, from a file or at random. Random ones are written once, to a new file.

    Examples: `v2g csms password --generate passwords.csv --count 20 --admit`,
    `v2g csms password --generate new.csv CS-1 CS-2 --replace`, `v2g csms password --import passwords.csv`
    """
    stations = [*(names or ()), *numbered(prefix, count)]
    from v2g_cli.passwords import PasswordFile, read_passwords  # on demand

    if (file is None) == (generate is None):
        raise ConfigError("give either --import or --generate", hint="v2g csms password --help shows examples")
    body: dict[str, object] = {"replace": replace, "admit": admit}
    client = client_of(context)
    if file is not None:
        if stations:
            raise ConfigError("with --import the stations come from the file", hint="leave them out")
        passwords = [{"station_id": identity, "password": each} for identity, each in read_passwords(file).items()]
        body["passwords"] = passwords
        try:
            client.ask_until_done("POST", "/admissions/passwords", body)
        except RefusedError as error:
            if error.reason != LOST:
                raise
        say(f"{len(passwords)} passwords set")
        return
    assert generate is not None
    if not stations:
        raise ConfigError("no stations given", hint="list them, or use --count and --prefix")
    body["passwords"] = [{"station_id": identity} for identity in stations]
    made = PasswordFile(generate)
    try:
        answer = client.ask_until_done("POST", "/admissions/passwords", body).body
    except BaseException as error:
        made.discard()
        if isinstance(error, RefusedError) and error.reason == LOST:
            what = "passwords were set, but the answer with them was lost"
            raise RefusedError(what, reason=LOST, hint="set others: --replace") from None
        raise
    made.write({each["station_id"]: each["password"] for each in answer["made"]})
    say(f"{answer['count']} passwords set, and written to {generate}")


# -- tokens


TokenName = Annotated[str, typer.Argument(metavar="TOKEN", help="Identifier of the token.")]
TokenType = Annotated[str, typer.Option("--type", help="Token type, such as ISO14443, eMAID, Central.")]


def allow(
    context: typer.Context,
    token: TokenName,
    kind: TokenType = "Central",
    group: Annotated[str | None, typer.Option("--group", help="Group of the token.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Valid until this day or time (ISO 8601, UTC).")] = None,
    block: Annotated[bool, typer.Option("--block", help="Block the token instead.")] = False,
    json: JsonFlag = False,
) -> None:
    """Allow or block a token. Omitted settings are kept.

    Examples: `v2g csms allow 04A1B2C3 --type ISO14443 --until 2027-01-01`,
    `v2g csms allow 04A1B2C3 --type ISO14443 --block`
    """
    client, path = client_of(context), f"/tokens/{part(kind)}/{part(token)}"
    if block:
        show_one(client.ask("PUT", f"{path}/status", {"status": "Blocked"}).body, json=json)
        return
    terms = {"group_id": group, "expires_ms": None if until is None else moment_of(until, ends=True)}
    known = token_settings(client, path)
    known["terms"] = known.get("terms", {}) | {name: value for name, value in terms.items() if value is not None}
    show_one(client.ask("PUT", path, known | {"status": "Accepted"}).body, json=json)


def token_settings(client: CsmsClient, path: str) -> Fields:
    """Return the modifiable settings of a token, none for a new one."""
    try:
        found = client.ask("GET", path).body
    except RefusedError as error:
        if error.reason != "404":
            raise
        return {}
    return {name: found[name] for name in ("terms", "energy_transfer")}
