"""What cases share: ways to their first states, and looking for what stations may report in one of several ways.

Network profiles are set, chosen, and left again after the case (A05, B09, B10).
"""

import contextlib
from collections.abc import Mapping
from typing import Any, Final

from v2g_testkit.ocpp.case import Failed, Inconclusive, NotApplicable, Payload, given
from v2g_testkit.ocpp.connection import CallError, Received, having
from v2g_testkit.ocpp.declaration import Token
from v2g_testkit.ocpp.station_tester import StationTest, reported, states_of

GROUP: Final[Payload] = {"idToken": "V2G-GROUP", "type": "Central"}


async def connector_is(
    t: StationTest, status: str, requirement: str, evse: int = 1, within: float | None = None
) -> None:
    """Expect a connector's status, by StatusNotification or NotifyEvent. Raises Failed."""
    if await t.find(lambda each: status in reported(each, evse), within) is None:
        raise Failed(f"does not report EVSE {evse} as {status}", requirement)


async def all_connectors(t: StationTest, status: str, requirement: str) -> None:
    """Expect the status of every connector. Raises Failed."""
    for evse, connector in t.connectors:
        if await t.find(lambda each: ((evse, connector), status) in states_of(each.action, each.payload)) is None:  # noqa: B023
            raise Failed(f"does not report connector {connector} of EVSE {evse} as {status}", requirement)


async def boot(t: StationTest, requirement: str = "B01.FR.01") -> Payload:
    """Expect the station's BootNotification, and forget what came before. Raises Failed."""
    return await t.expect("BootNotification", requirement, within=t.declared.away_seconds, skip=True)


async def reset(t: StationTest, kind: str = "OnIdle") -> Payload:
    """Let the station reboot by a Reset; return its BootNotification. For preconditions."""
    async with t.reconnects():
        answer = await t.ask("Reset", type=kind)
        if answer["status"] != "Accepted":
            raise Failed(f"answers Reset with {answer['status']}", "B11.FR.01")
    return await boot(t)


def not_rejected(status: str, message: str) -> None:
    """Raise Inconclusive if a trigger was rejected, which F06.FR.05 leaves to the station."""
    if status == "Rejected":
        raise Inconclusive(f"rejects the trigger of {message}, which F06.FR.05 allows and certification does not")


# -- settings


async def prefer(t: StationTest, component: str, variable: str, value: str, **more: object) -> None:
    """Set a variable where the station has it and lets it be set."""
    before = await t.get(component, variable, **more)
    if before["attributeStatus"] == "Accepted" and before.get("attributeValue") != value:
        await t.set(component, variable, value, **more)


async def points(t: StationTest, variable: str, *wanted: str, without: tuple[str, ...] = ()) -> None:
    """Let transactions start (TxStartPoint) or stop (TxStopPoint) at these points. Raises NotApplicable."""
    now = set((await t.value("TxCtrlr", variable)).split(","))
    if not set(wanted) <= now or now & set(without):
        await t.demand("TxCtrlr", variable, ",".join(wanted))


async def outlasts_energy(t: StationTest) -> None:
    """Let transactions go on while energy does not flow. Raises NotApplicable."""
    if "EnergyTransfer" in (await t.value("TxCtrlr", "TxStopPoint")).split(","):
        await t.demand("TxCtrlr", "TxStopPoint", "EVConnected")


async def accepts_offline(t: StationTest) -> None:
    """Let the station accept the token offline: unknown ones, or by its list, or by its cache. Raises NotApplicable."""
    await prefer(t, "AuthCtrlr", "LocalAuthorizeOffline", "true")
    try:
        await t.demand("AuthCtrlr", "OfflineTxForUnknownIdEnabled", "true")
    except NotApplicable:
        if t.has("LocalAuthListCtrlr.Available"):
            await listed(t, {t.token: {"status": "Accepted"}})
        elif t.has("AuthCacheCtrlr.Available"):
            await cached(t, t.token)
        else:
            raise


# -- tokens


def is_token(payload: Any, token: Token) -> bool:
    """Return whether an IdTokenType is a token; identifiers are compared without case."""
    same = isinstance(payload, dict) and payload.get("type") == token.type
    return same and str(payload.get("idToken")).lower() == token.id.lower()


def let_be(t: StationTest, infos: Mapping[Token, Payload]) -> None:
    """Let the back end say this of tokens, wherever the station shows them; others are accepted."""

    def answer(payload: Payload) -> Payload:
        if "idToken" not in payload:
            return {}
        known = (info for token, info in infos.items() if is_token(payload["idToken"], token))
        return {"idTokenInfo": next(known, {"status": "Accepted"})}

    t.answer("Authorize", answer)
    t.answer("TransactionEvent", answer)


async def asks_about(t: StationTest, token: Token, requirement: str) -> Payload:
    """Expect Authorize for a token. Raises Failed."""
    return await _shows(t, "Authorize", token, requirement)


async def accepts(t: StationTest, token: Token, requirement: str) -> Payload:
    """Expect a TransactionEvent with the token. Raises Failed."""
    return await _shows(t, "TransactionEvent", token, requirement)


async def _shows(t: StationTest, action: str, token: Token, requirement: str) -> Payload:
    found = await t.find(lambda each: each.action == action and is_token(each.payload.get("idToken"), token))
    if found is None:
        raise Failed(f"sends no {action} with the token {token.id}", requirement)
    return found


async def refuses(t: StationTest, requirement: str, within: float = 5) -> None:
    """Raise Failed if the station authorizes, or charges, within some time."""
    await t.nothing("TransactionEvent", requirement, within=within, triggerReason="Authorized")
    await t.nothing("TransactionEvent", requirement, within=1, transactionInfo__chargingState="Charging")


async def forget_tokens(t: StationTest) -> None:
    """Empty the cache and the list of the station, as far as it has them."""
    await clear_cache(t)
    with contextlib.suppress(CallError):
        await t.ask("SendLocalList", versionNumber=1, updateType="Full")


async def clear_cache(t: StationTest) -> None:
    """Empty the cache of the station, if it has one."""
    with contextlib.suppress(CallError):
        await t.ask("ClearCache")


async def cached(t: StationTest, token: Token, **info: object) -> None:
    """Bring a token into the cache, with this IdTokenInfoType; for preconditions."""
    await prefer(t, "AuthCacheCtrlr", "Enabled", "true")
    await prefer(t, "AuthCtrlr", "LocalPreAuthorize", "true")
    info = {"status": "Accepted"} | info
    let_be(t, {token: info})
    if info["status"] == "Accepted":
        await session(t, token)
    else:
        await t.present(token)
        await asks_about(t, token, "C01.FR.02")
    let_be(t, {token: info})
    t.forget()


async def listed(t: StationTest, entries: Mapping[Token, Payload]) -> None:
    """Replace the local list; for preconditions."""
    await prefer(t, "LocalAuthListCtrlr", "Enabled", "true")
    await prefer(t, "AuthCtrlr", "LocalPreAuthorize", "true")
    data = [{"idToken": token.payload, "idTokenInfo": info} for token, info in entries.items()]
    answer = await t.ask("SendLocalList", versionNumber=1, updateType="Full", localAuthorizationList=data)
    t.check(answer["status"] == "Accepted", "D01.FR.02", f"answers SendLocalList with {answer['status']}")
    t.undo(lambda: t.ask("SendLocalList", versionNumber=1, updateType="Full"))


# -- transactions


async def session(t: StationTest, token: Token | None = None, evse: int = 1) -> str:
    """Charge with a token, stop with it, and leave; return the transaction."""
    transaction = await t.charging(evse, token)
    await t.present(token, evse)
    await t.find(lambda each: _stops(each, transaction), keep=True)  # a driver leaves once it has
    await t.unplug(evse)
    await ended(t, "E07.FR.02", transactionInfo__transactionId=transaction)
    return transaction


def _stops(message: Received, transaction: str) -> bool:
    of_it = having("TransactionEvent", {"transactionInfo__transactionId": transaction})(message)
    return of_it and (message.payload["eventType"] == "Ended" or message.payload["triggerReason"] == "StopAuthorized")


async def ended(t: StationTest, requirement: str, **fields: Any) -> Payload:
    """Expect the end of a transaction. Raises Failed."""
    return await t.expect("TransactionEvent", requirement, eventType="Ended", **fields)


async def events(t: StationTest, requirement: str) -> list[Payload]:
    """Return the events of a transaction, up to its end. Raises Failed."""
    found = [await t.expect("TransactionEvent", requirement)]
    while found[-1]["eventType"] != "Ended":
        found.append(await t.expect("TransactionEvent", requirement))
    return found


def stopped(event: Payload) -> str:
    """Return why a transaction has ended; what is omitted means Local (E06.FR.09)."""
    return str(event["transactionInfo"].get("stoppedReason", "Local"))


# -- tariffs (2.1)


async def priced(t: StationTest, name: str, per_kwh: float) -> None:
    """Let the station calculate costs by a default tariff of EVSE 1, which is cleared after the case; for
    preconditions."""
    for instance in ("Tariff", "Cost"):
        await t.demand("TariffCostCtrlr", "Enabled", "true", instance=instance)
    tariff = {"tariffId": name, "currency": "EUR", "energy": {"prices": [{"priceKwh": per_kwh}]}}
    t.undo(lambda: t.ask("ClearTariffs", tariffIds=[name]))
    await given(t.must_answer("Accepted", "I07.FR.10", "SetDefaultTariff", evseId=1, tariff=tariff))


# -- network profiles


PRIORITY: Final = ("OCPPCommCtrlr", "NetworkConfigurationPriority")
_SLOTS: Final = ("0", "1", "2", "3")
"""Tried where the station does not list its slots."""


async def offer(
    t: StationTest, url: str, level: int | None = None, *, to: str = "", **more: object
) -> tuple[str, Payload]:
    """Set a slot that is not in use, or `to`; return it, and the answer. `level`: security profile, else the present.
    `more`: further fields of NetworkConnectionProfileType.

    Raises NotApplicable without such a slot.
    """
    in_use = set((await t.value(*PRIORITY)).split(","))
    # the slots of the station (B09.FR.05)
    slot = to or next((each for each in (t.values_of(*PRIORITY) or list(_SLOTS)) if each not in in_use), "")
    t.needs(bool(slot), "all of its slots are in use")
    data = {
        "ocppVersion": "OCPP20",
        "ocppTransport": "JSON",
        "ocppCsmsUrl": url,
        "messageTimeout": 30,
        "securityProfile": t.opening.security_profile if level is None else level,
        "ocppInterface": "Wired0",
    } | more
    return slot, await t.ask("SetNetworkProfile", configurationSlot=int(slot), connectionData=data)


async def prefer_url(t: StationTest, url: str, level: int | None = None, *, only: bool = False) -> str:
    """Set a slot, and put it before the others, or alone, in the order of slots; return the former order.

    It is restored after the case, with a reset if the station is elsewhere then. Raises Failed.
    """
    before, home = await t.value(*PRIORITY), t.opening.host
    slot, answer = await offer(t, url, level)
    t.check(answer["status"] == "Accepted", "B09.FR.01", f"answers {answer['status']} to the network profile")

    async def back() -> None:
        await t.write(*PRIORITY, before)
        if t.opening.host != home:
            await leave(t)
            await t.reconnected()

    t.undo(back)
    status = await t.write(*PRIORITY, slot if only else f"{slot},{before}")
    t.check(status in ("Accepted", "RebootRequired"), "B10.FR.01", f"answers {status} to the order of slots")
    return before


async def leave(t: StationTest) -> None:
    """Reset the station, and wait until its connection has ended. Raises Failed."""
    t.equal((await t.ask("Reset", type="OnIdle"))["status"], "Accepted", "B11.FR.01", "answers Reset with {}")
    await t.disconnected("B11.FR.03")


async def migrate(t: StationTest, url: str, level: int | None = None) -> None:
    """Let the station boot with a network profile of this URL before the one that it has. Raises Failed."""
    await given(prefer_url(t, url, level), leave(t))
    await t.reconnected("B10.FR.04")
    await boot(t, "B10.FR.04")


async def tried(t: StationTest, host: str, number: int, requirement: str) -> None:
    """Wait until the station has tried to connect somewhere so often in this case. Raises Failed."""
    if not await t.until(lambda: t.hosts.count(host) >= number, t.declared.away_seconds):
        raise Failed(f"tries {host} {t.hosts.count(host)} times instead of {number}", requirement)
