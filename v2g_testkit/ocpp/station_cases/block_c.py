"""Functional block C, authorization: cases for charging stations."""

from typing import Final

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.declaration import Token
from v2g_testkit.ocpp.driver import Action, Step
from v2g_testkit.ocpp.station_cases.steps import (
    GROUP,
    accepts,
    asks_about,
    cached,
    ended,
    events,
    forget_tokens,
    is_token,
    let_be,
    listed,
    outlasts_energy,
    points,
    prefer,
    refuses,
    reset,
    stopped,
)
from v2g_testkit.ocpp.station_tester import StationTest

C: Final[Block[StationTest]] = Block(needs=("AuthCacheCtrlr.Available",))

CACHE: Final = ("AuthCacheCtrlr.Available",)
LIST: Final = ("LocalAuthListCtrlr.Available",)
C_LIST: Final = C.having(profiles=("Local Authorization List Management",), needs=LIST)

_MEMBER: Final[Payload] = {"status": "Accepted", "groupIdToken": GROUP}
_FORMER: Final[Payload] = {"status": "Invalid", "groupIdToken": GROUP}


async def _asks_nobody(t: StationTest, token: Token, requirement: str) -> None:
    found = await t.find(lambda each: each.action == "Authorize" and is_token(each.payload.get("idToken"), token), 5)
    t.check(found is None, requirement, f"sends Authorize for the token {token.id}, which it knows")


async def _cache_has(t: StationTest, status: str, *, asks: bool = False) -> None:
    """Let the cache have the token, and nothing else; `asks`: the station is to ask about one that it refuses."""
    if asks:
        await prefer(t, "AuthCacheCtrlr", "DisablePostAuthorize", "false")
    await forget_tokens(t)
    await cached(t, t.token, status=status)


async def _list_has(t: StationTest, status: str, *, asks: bool = False) -> None:
    """As `_cache_has`, for the local list."""
    if asks:
        await prefer(t, "LocalAuthListCtrlr", "DisablePostAuthorize", "false")
    await forget_tokens(t)
    await listed(t, {t.token: {"status": status}})


async def _charges(t: StationTest, token: Token, requirement: str) -> None:
    """Expect energy, and the token in an event before it."""
    event = await accepts(t, token, requirement)
    t.check(bool(await t.flowing(event=event)), requirement, "does not charge")


# -- the back end decides


def _case_of_refusal(number: int, status: str, *, quick: bool = False) -> None:
    @C.case(f"TC_C_{number:02}_CS", f"Local start with a token that is {status}", needs=(), quick=quick)
    async def script(t: StationTest) -> None:
        """The station asks the back end about the token, and starts nothing when it is refused."""
        token = t.declared.unknown_token
        await given(forget_tokens(t), t.plug())
        t.forget()
        let_be(t, {token: {"status": status}})
        await t.present(token)
        await asks_about(t, token, "C01.FR.02")
        await refuses(t, "C01.FR.01")


_case_of_refusal(2, "Invalid", quick=True)
_case_of_refusal(6, "Blocked")
_case_of_refusal(7, "Expired")
_case_of_refusal(56, "Unknown")


@C.case(
    "TC_C_05_CS",
    "Invalid token at a connector that is locked until a token is authorized",
    needs=("connector locked until authorization",),
)
async def refused_without_cable(t: StationTest) -> None:
    """The station asks the back end about the token, and starts nothing when it is refused."""
    token = t.declared.unknown_token
    await given(forget_tokens(t))
    let_be(t, {token: {"status": "Invalid"}})
    await t.present(token)
    await asks_about(t, token, "C01.FR.02")
    await refuses(t, "C01.FR.01")


@C.case("TC_C_04_CS", "A different token does not stop a transaction", needs=(), quick=True)
async def different_token(t: StationTest) -> None:
    """The transaction continues when another token is presented, even one that the back end accepts."""
    await given(forget_tokens(t), t.charging())
    t.forget()
    await t.present(t.declared.other_token)
    await asks_about(t, t.declared.other_token, "C01.FR.02")
    await t.nothing("TransactionEvent", "C01.FR.03", within=5, triggerReason="StopAuthorized")
    await t.nothing("TransactionEvent", "C01.FR.03", within=1, eventType="Ended")


# -- the cache


@C.case("TC_C_08_CS", "A token that the cache accepts", also="C12.FR.04")
async def cache_accepts(t: StationTest) -> None:
    """The station charges without asking the back end, and shows the token in an event."""
    await given(_cache_has(t, "Accepted"), t.plug())
    await t.present()
    await _charges(t, t.token, "C12.FR.02")
    t.check(not t.seen("Authorize"), "C12.FR.02", "sends Authorize for a token that its cache accepts")


def _case_of_cached_refusal(number: int, status: str) -> None:
    @C.case(f"TC_C_{number:02}_CS", f"A token that the cache has as {status}")
    async def script(t: StationTest) -> None:
        """The station asks the back end about the token, and starts nothing when it is refused again."""
        await given(_cache_has(t, status, asks=True), t.plug())
        await t.present()
        await asks_about(t, t.token, "C10.FR.03")
        await refuses(t, "C12.FR.05")


_case_of_cached_refusal(9, "Invalid")
_case_of_cached_refusal(10, "Blocked")
_case_of_cached_refusal(11, "Expired")


@C.case("TC_C_12_CS", "A token that the cache refuses and the back end accepts")
async def cache_outdated(t: StationTest) -> None:
    """The station asks the back end, and charges when the token is accepted now."""
    await given(_cache_has(t, "Invalid", asks=True), t.plug())
    let_be(t, {})
    await t.present()
    await asks_about(t, t.token, "C10.FR.03")
    await _charges(t, t.token, "C12.FR.05")


@C.case("TC_C_13_CS", "A token that the cache accepts, before the cable")
async def cache_before_cable(t: StationTest) -> None:
    """The station does not ask the back end, and charges once the cable is plugged in."""
    with precondition():
        await _cache_has(t, "Accepted")
        early = "Authorized" in await t.value("TxCtrlr", "TxStartPoint")
    await t.present()
    if early:
        event = await accepts(t, t.token, "C12.FR.02")
        t.check(event["triggerReason"] == "Authorized", "C12.FR.02", f"the reason is {event['triggerReason']}")
    await _asks_nobody(t, t.token, "C12.FR.02")
    await t.plug()
    t.check(bool(await t.flowing()), "C12.FR.04", "does not charge")


@C.case("TC_C_57_CS", "A token that the cache refuses, with DisablePostAuthorize", also="C10.FR.03")
async def cache_not_asked(t: StationTest) -> None:
    """The station refuses the token without asking the back end."""
    await given(t.demand("AuthCacheCtrlr", "DisablePostAuthorize", "true"), _cache_has(t, "Invalid"), t.plug())
    let_be(t, {})
    await t.present()
    await _asks_nobody(t, t.token, "C12.FR.05")
    await refuses(t, "C12.FR.05")


@C.case("TC_C_32_CS", "The cache stays over a reset", needs=(*CACHE, "persistent cache"))
async def cache_persists(t: StationTest) -> None:
    """After a reset the station charges with a cached token without asking the back end."""
    await given(_cache_has(t, "Accepted"), reset(t), t.plug())
    t.forget()
    await t.present()
    await _charges(t, t.token, "C10.FR.02")
    t.check(not t.seen("Authorize"), "C10.FR.02", "sends Authorize for a token that its cache accepted before")


@C.case("TC_C_33_CS", "The cache learns from answers to Authorize", requirements="C10.FR.01 C10.FR.04 C12.FR.06")
async def cache_learns(t: StationTest) -> None:
    """A token that the back end has accepted once starts the next transaction without a question."""
    with precondition():
        await prefer(t, "AuthCacheCtrlr", "Enabled", "true")
        await prefer(t, "AuthCtrlr", "LocalPreAuthorize", "true")
        await forget_tokens(t)
    let_be(t, {})
    await t.plug()
    await t.present()
    await asks_about(t, t.token, "C01.FR.02")
    await _charges(t, t.token, "C12.FR.06")
    await t.present()
    await t.unplug()
    await ended(t, "E07.FR.02")
    await t.plug()
    t.forget()
    await t.present()
    await accepts(t, t.token, "C10.FR.04")
    t.check(not t.seen("Authorize"), "C10.FR.04", "sends Authorize for a token that was accepted before")


@C.case("TC_C_34_CS", "The cache learns from answers to TransactionEvent", requirements="C10.FR.05 C12.FR.06")
async def cache_learns_from_events(t: StationTest) -> None:
    """A token that was refused in an answer to TransactionEvent is asked about the next time."""
    await given(_cache_has(t, "Accepted", asks=True), t.plug())
    let_be(t, {t.token: {"status": "Invalid"}})
    await t.present()
    await accepts(t, t.token, "C12.FR.02")
    await t.unplug()
    await ended(t, "C15.FR.04")
    await t.plug()
    t.forget()
    await t.present()
    await asks_about(t, t.token, "C10.FR.05")


@C.case("TC_C_36_CS", "The cache without LocalPreAuthorize")
async def cache_not_used(t: StationTest) -> None:
    """The station asks the back end about a token although its cache accepts it."""
    await given(_cache_has(t, "Accepted"), t.demand("AuthCtrlr", "LocalPreAuthorize", "false"), t.plug())
    t.forget()
    await t.present()
    await asks_about(t, t.token, "C10.FR.11")


@C.case("TC_C_37_CS", "Clear the cache", also="C11.FR.02")
async def cache_cleared(t: StationTest) -> None:
    """The station accepts, and asks the back end about the token that was cached."""
    await given(_cache_has(t, "Accepted"))
    await t.must_answer("Accepted", "C11.FR.03", "ClearCache")
    await t.plug()
    await t.present()
    await asks_about(t, t.token, "C11.FR.01")
    await _charges(t, t.token, "C11.FR.01")


@C.case("TC_C_38_CS", "Clear a cache that is disabled", also="C11.FR.02")
async def cache_disabled(t: StationTest) -> None:
    """The station rejects the request."""
    await given(t.demand("AuthCacheCtrlr", "Enabled", "false"))
    await t.must_answer("Rejected", "C11.FR.04", "ClearCache")


@C.case("TC_C_46_CS", "Cached tokens expire", also="C10.FR.10")
async def cache_lifetime(t: StationTest) -> None:
    """After the lifetime of cached tokens the station asks the back end again."""
    await given(t.demand("AuthCacheCtrlr", "LifeTime", "20"), _cache_has(t, "Accepted"), t.plug())
    t.forget()
    await t.wait(25)
    await t.present()
    await asks_about(t, t.token, "C10.FR.08")


@C.case("V2G-C-06-CS", "A cached token expires at the time that the back end has set", also="C10.FR.10")
async def cache_expiry(t: StationTest) -> None:
    """After the cacheExpiryDateTime of a token the station asks the back end again."""
    await given(forget_tokens(t), cached(t, t.token, cacheExpiryDateTime=t.later(60)), t.plug())
    await t.wait(65)
    t.forget()
    await t.present()
    await asks_about(t, t.token, "C10.FR.13")


@C.case("V2G-C-07-CS", "A token for another EVSE", requirements="C01.FR.21", needs=("2 EVSEs",))
async def other_evse(t: StationTest) -> None:
    """The station charges with a token at the EVSEs only that the back end names for it."""
    with precondition():
        await forget_tokens(t)
        await t.plug()
        await t.plug(2)
    t.answer("Authorize", {"idTokenInfo": {"status": "Accepted", "evseId": [2]}})
    await t.present()
    await asks_about(t, t.token, "C01.FR.02")
    await refuses(t, "C01.FR.21")
    await t.present(evse=2)
    await t.flowing(2)


# -- refused after a start offline


def _halts(event: Payload) -> bool:
    """Return whether an event says that its transaction has ended, or takes no energy for now."""
    state = event["transactionInfo"].get("chargingState")
    return event["eventType"] == "Ended" or state in ("EVConnected", "SuspendedEVSE")


def _case_of_later_refusal(number: int, title: str, stops: str, wh: str, required: str, *requirements: str) -> None:
    @C.case(f"TC_C_{number}_CS", title, required=required, requirements=requirements)
    async def script(t: StationTest) -> None:
        with precondition():
            await t.demand("AuthCtrlr", "LocalAuthorizeOffline", "true")
            await t.demand("TxCtrlr", "StopTxOnInvalidId", stops)
            if wh != "0":
                await t.demand("TxCtrlr", "MaxEnergyOnInvalidId", wh)
            else:
                await prefer(t, "TxCtrlr", "MaxEnergyOnInvalidId", "0")
            await prefer(t, "AuthCtrlr", "OfflineTxForUnknownIdEnabled", "true")
            await outlasts_energy(t)
            await _cache_has(t, "Accepted")
            await t.plug()
        t.forget()
        let_be(t, {t.token: {"status": "Invalid"}})
        async with t.away(6):
            await t.present()
        event = await accepts(t, t.token, "C15.FR.02")
        t.check(event.get("offline") is True, "E12.FR.02", "the event from before the reconnection is not offline")
        if stops == "true":
            event = await t.expect("TransactionEvent", requirements[0], triggerReason="Deauthorized")
            # C15.FR.03; the energy may stop a moment later
            halted = _halts(event) or await t.find(
                lambda each: each.action == "TransactionEvent" and _halts(each.payload)
            )
            t.check(bool(halted), requirements[0], "is deauthorized, but neither ended nor suspended")
        elif wh == "0":
            await t.expect("TransactionEvent", requirements[0], transactionInfo__chargingState="SuspendedEVSE")
            await t.nothing("TransactionEvent", requirements[0], within=3, triggerReason="Deauthorized")
        else:
            await t.nothing("TransactionEvent", requirements[0], within=5, triggerReason="Deauthorized")
            suspended = {"transactionInfo__chargingState": "SuspendedEVSE"}
            await t.nothing("TransactionEvent", requirements[0], within=5, **suspended)


_case_of_later_refusal(
    15, "Started offline, then refused: some energy is granted", "false", "10000",
    "The station continues to charge up to MaxEnergyOnInvalidId.", "C15.FR.07", "C12.FR.04",
)  # fmt: skip
_case_of_later_refusal(
    16, "Started offline, then refused: stop", "true", "0",
    "The station stops what was started offline once the back end refuses the token.", "C15.FR.04", "C15.FR.03",
)  # fmt: skip
_case_of_later_refusal(
    17, "Started offline, then refused: suspend", "false", "0",
    "The station stops the energy but not the transaction once the back end refuses the token.", "C15.FR.06",
    "C12.FR.04",
)  # fmt: skip
_case_of_later_refusal(
    18, "Started offline, then refused: stop, whatever energy is granted", "true", "500",
    "With StopTxOnInvalidId the station stops although MaxEnergyOnInvalidId is not used up.", "C15.FR.04", "C15.FR.03",
)  # fmt: skip


@C.case("TC_C_26_CS", "Offline: unknown tokens are accepted", also="C13.FR.04", needs=())
async def unknown_offline(t: StationTest) -> None:
    """The station charges with an unknown token while it is offline, and suspends once the token is refused."""
    token = t.declared.unknown_token
    with precondition():
        await t.demand("AuthCtrlr", "OfflineTxForUnknownIdEnabled", "true")
        await prefer(t, "AuthCtrlr", "LocalAuthorizeOffline", "true")
        await t.demand("TxCtrlr", "StopTxOnInvalidId", "false")
        await prefer(t, "TxCtrlr", "MaxEnergyOnInvalidId", "0")
        await outlasts_energy(t)
        await forget_tokens(t)
    t.forget()
    let_be(t, {token: {"status": "Invalid"}})
    async with t.away(6):
        await t.plug()
        await t.present(token)
    event = await accepts(t, token, "C15.FR.08")
    t.check(event.get("offline") is True, "C15.FR.02", "the event from before the reconnection is not offline")
    await t.expect("TransactionEvent", "C15.FR.06", transactionInfo__chargingState="SuspendedEVSE")


@C.case("V2G-C-05-CS", "Offline: unknown tokens are refused", requirements="OfflineTxForUnknownIdEnabled")
async def refused_offline(t: StationTest) -> None:
    """The station starts nothing with a token that neither its list nor its cache has."""
    with precondition():
        await prefer(t, "AuthCtrlr", "OfflineTxForUnknownIdEnabled", "false")
        await forget_tokens(t)
        await t.plug()
    t.forget()
    async with t.away(5):
        await t.present()
    await refuses(t, "OfflineTxForUnknownIdEnabled")


@C.case("V2G-C-08-CS", "Offline: known tokens are refused", requirements="LocalAuthorizeOffline")
async def known_refused_offline(t: StationTest) -> None:
    """Without LocalAuthorizeOffline the station starts nothing offline, even with a token in its cache."""
    with precondition():
        await t.demand("AuthCtrlr", "LocalAuthorizeOffline", "false")
        await prefer(t, "AuthCtrlr", "OfflineTxForUnknownIdEnabled", "false")
        await _cache_has(t, "Accepted")
        await t.plug()
    t.forget()
    async with t.away(5):
        await t.present()
    await refuses(t, "LocalAuthorizeOffline")


# -- the local list, offline


@C_LIST.case("TC_C_21_CS", "Offline: a token that the list accepts", also="E12.FR.01")
async def listed_offline(t: StationTest) -> None:
    """A whole transaction offline is reported afterwards, with all of its events marked as offline."""
    with precondition():
        await prefer(t, "AuthCtrlr", "OfflineTxForUnknownIdEnabled", "false")
        await t.demand("AuthCtrlr", "LocalAuthorizeOffline", "true")
        await _list_has(t, "Accepted")
    t.forget()
    async with t.away(8):
        await t.plug()
        await t.present()
        await t.wait(3)
        await t.present()
        await t.unplug()
    found = await events(t, "C13.FR.02")
    t.check(all(each.get("offline") is True for each in found), "E12.FR.02", "an event is not marked as offline")
    reasons = [each["triggerReason"] for each in found]
    t.check("StopAuthorized" in reasons, "C13.FR.02", f"the events are {', '.join(reasons)}")


def _case_of_listed_offline(number: int, status: str) -> None:
    @C_LIST.case(f"TC_C_{number}_CS", f"Offline: a token that the list has as {status}")
    async def script(t: StationTest) -> None:
        """The station starts nothing with a token that its list refuses."""
        with precondition():
            await prefer(t, "AuthCtrlr", "OfflineTxForUnknownIdEnabled", "false")
            await t.demand("AuthCtrlr", "LocalAuthorizeOffline", "true")
            await _list_has(t, status)
            await t.plug()
        t.forget()
        async with t.away(5):
            await t.present()
        await refuses(t, "C13.FR.02")


_case_of_listed_offline(22, "Invalid")
_case_of_listed_offline(23, "Blocked")
_case_of_listed_offline(24, "Expired")


@C.case(
    "TC_C_25_CS", "Offline: the list comes before the cache", also="C14.FR.01",
    profiles=("Local Authorization List Management",), needs=(*LIST, *CACHE),
)  # fmt: skip
async def list_before_cache(t: StationTest) -> None:
    """The station starts nothing with a token that its list refuses and its cache accepts."""
    with precondition():
        await prefer(t, "AuthCtrlr", "OfflineTxForUnknownIdEnabled", "true")
        await t.demand("AuthCtrlr", "LocalAuthorizeOffline", "true")
        await _cache_has(t, "Accepted")
        await listed(t, {t.token: {"status": "Invalid"}})
        await t.plug()
    t.forget()
    async with t.away(5):
        await t.present()
    await refuses(t, "C13.FR.01")


# -- the local list, online


@C_LIST.case("TC_C_27_CS", "A token that the list accepts")
async def list_accepts(t: StationTest) -> None:
    """The station charges without asking the back end, and shows the token in an event."""
    await given(_list_has(t, "Accepted"))
    t.forget()
    await t.present()
    await t.plug()
    await _charges(t, t.token, "C14.FR.02")
    t.check(not t.seen("Authorize"), "C14.FR.02", "sends Authorize for a token that its list accepts")


def _case_of_listed_refusal(number: int, status: str) -> None:
    @C_LIST.case(f"TC_C_{number}_CS", f"A token that the list has as {status}")
    async def script(t: StationTest) -> None:
        """The station asks the back end about the token, and starts nothing when it is refused again."""
        await given(_list_has(t, status, asks=True), t.plug())
        t.forget()
        let_be(t, {t.token: {"status": status}})
        await t.present()
        await asks_about(t, t.token, "C14.FR.03")
        await refuses(t, "C14.FR.03")


_case_of_listed_refusal(28, "Invalid")
_case_of_listed_refusal(29, "Blocked")
_case_of_listed_refusal(30, "Expired")


@C_LIST.case("TC_C_31_CS", "A token that the list refuses and the back end accepts")
async def list_outdated(t: StationTest) -> None:
    """The station asks the back end, and charges when the token is accepted now."""
    await given(_list_has(t, "Invalid", asks=True), t.plug())
    t.forget()
    await t.present()
    await asks_about(t, t.token, "C14.FR.03")
    await _charges(t, t.token, "C14.FR.03")


@C_LIST.case("TC_C_58_CS", "A token that the list refuses, with DisablePostAuthorize")
async def list_not_asked(t: StationTest) -> None:
    """The station refuses the token without asking the back end."""
    await given(t.demand("LocalAuthListCtrlr", "DisablePostAuthorize", "true"), _list_has(t, "Invalid"), t.plug())
    t.forget()
    await t.present()
    await _asks_nobody(t, t.token, "C14.FR.03")
    await refuses(t, "C14.FR.03")


# -- groups


async def _of_group(t: StationTest, second: Payload) -> None:
    """Charge with the token, which is of a group; the back end says `second` of the other."""
    let_be(t, {t.token: _MEMBER, t.declared.other_token: second})
    await t.charging()
    t.forget()


async def _stops(t: StationTest, requirement: str) -> None:
    event = await t.expect("TransactionEvent", requirement, triggerReason="StopAuthorized")
    other = t.declared.other_token
    shown = "idToken" not in event or is_token(event["idToken"], other)
    t.check(shown, "E07.FR.02", "the event that stops has another token than the one presented")


async def _goes_on(t: StationTest, requirement: str) -> None:
    await t.nothing("TransactionEvent", requirement, within=5, triggerReason="StopAuthorized")
    await t.nothing("TransactionEvent", requirement, within=1, eventType="Ended")


@C.case("TC_C_39_CS", "A token of the same group stops", also="C09.FR.02", needs=(), quick=True)
async def group_stops(t: StationTest) -> None:
    """The station asks about the second token, and stops the transaction of the first."""
    await given(forget_tokens(t), _of_group(t, _MEMBER))
    await t.present(t.declared.other_token)
    await asks_about(t, t.declared.other_token, "C09.FR.05")
    await _stops(t, "C09.FR.03")


@C_LIST.case("TC_C_40_CS", "A token of the same group stops, by the local list", also="C09.FR.02 C09.FR.03")
async def group_stops_by_list(t: StationTest) -> None:
    """The station stops the transaction of the first token when the second has the same group in the list."""
    with precondition():
        await forget_tokens(t)
        await listed(t, {t.token: _MEMBER, t.declared.other_token: _MEMBER})
        await _of_group(t, _MEMBER)
    await t.present(t.declared.other_token)
    await _stops(t, "C09.FR.07")


@C.case("TC_C_41_CS", "A token of the same group stops, by the cache", also="C09.FR.02 C09.FR.03")
async def group_stops_by_cache(t: StationTest) -> None:
    """The station stops the transaction of the first token when the second has the same group in the cache."""
    with precondition():
        await forget_tokens(t)
        await cached(t, t.declared.other_token, groupIdToken=GROUP)
        await cached(t, t.token, groupIdToken=GROUP)
        await _of_group(t, _MEMBER)
    await t.present(t.declared.other_token)
    await _stops(t, "C09.FR.07")


@C.case("TC_C_42_CS", "A refused token of the same group does not stop", requirements="C09.FR.11", needs=())
async def group_refused(t: StationTest) -> None:
    """The transaction continues when the back end refuses the second token, although the group is the same."""
    await given(forget_tokens(t), _of_group(t, _FORMER))
    await t.present(t.declared.other_token)
    await asks_about(t, t.declared.other_token, "C09.FR.05")
    await _goes_on(t, "C09.FR.11")


@C_LIST.case("TC_C_43_CS", "A token of the same group that the list refuses does not stop", also="C09.FR.03")
async def group_refused_by_list(t: StationTest) -> None:
    """The station asks about the second token, and continues to charge when it is refused."""
    with precondition():
        await prefer(t, "LocalAuthListCtrlr", "DisablePostAuthorize", "false")
        await forget_tokens(t)
        await listed(t, {t.token: _MEMBER, t.declared.other_token: _FORMER})
        await _of_group(t, _FORMER)
    await t.present(t.declared.other_token)
    await asks_about(t, t.declared.other_token, "C14.FR.03")
    await _goes_on(t, "C09.FR.11")


@C.case("TC_C_44_CS", "A token of the same group that the cache refuses does not stop", also="C09.FR.03")
async def group_refused_by_cache(t: StationTest) -> None:
    """The station asks about the second token, and continues to charge when it is refused."""
    with precondition():
        await prefer(t, "AuthCacheCtrlr", "DisablePostAuthorize", "false")
        await forget_tokens(t)
        await cached(t, t.declared.other_token, status="Invalid", groupIdToken=GROUP)
        await _of_group(t, _FORMER)
    await t.present(t.declared.other_token)
    await asks_about(t, t.declared.other_token, "C10.FR.03")
    await _goes_on(t, "C09.FR.11")


# -- master pass


async def _master_pass(t: StationTest) -> None:
    """Make the other token one of the master pass group. Raises NotApplicable."""
    await t.demand("AuthCtrlr", "MasterPassGroupId", GROUP["idToken"])
    await forget_tokens(t)
    let_be(t, {t.declared.other_token: _MEMBER})


@C.case("TC_C_45_CS", "A master pass does not start", requirements="C16.FR.03", needs=())
async def master_pass_starts_nothing(t: StationTest) -> None:
    """The station asks about the token of the master pass group, and starts nothing with it."""
    with precondition():
        await _master_pass(t)
        await points(t, "TxStartPoint", "PowerPathClosed", without=("ParkingBayOccupancy", "EVConnected"))
    t.forget()
    await t.present(t.declared.other_token)
    await asks_about(t, t.declared.other_token, "C01.FR.02")
    await t.plug()
    await refuses(t, "C16.FR.03")


@C.case(
    "TC_C_14_CS", "A cached master pass stops a transaction", requirements="C12.FR.09 C16.FR.02",
    needs=("AuthCacheCtrlr.Available",),
)  # fmt: skip
async def cached_master_pass(t: StationTest) -> None:
    """The station stops the transaction when a token is presented whose group in the cache is the master pass."""
    t.needs(not t.has("choice of transactions"), "at the station a person chooses which transactions end")
    other = t.declared.other_token
    with precondition():
        await prefer(t, "AuthCacheCtrlr", "Enabled", "true")
        await prefer(t, "AuthCtrlr", "LocalPreAuthorize", "true")
        await _master_pass(t)
        await t.present(other)
        await asks_about(t, other, "C01.FR.02")
        await t.charging()
    t.forget()
    await t.present(other)
    event = await t.expect("TransactionEvent", "C16.FR.02", triggerReason="StopAuthorized")
    t.check(is_token(event.get("idToken"), other), "C16.FR.02", f"the token is {event.get('idToken')}")
    await t.unplug()
    if event["eventType"] != "Ended":
        event = await ended(t, "C16.FR.02")
    t.check(stopped(event) == "MasterPass", "C16.FR.02", f"the transaction ends with the reason {stopped(event)}")


@C.case("TC_C_49_CS", "A master pass stops everything, without a display", requirements="C16.FR.02", needs=())
async def master_pass_stops(t: StationTest) -> None:
    """The station stops all transactions when a token of the master pass group is presented."""
    t.needs(not t.has("choice of transactions"), "at the station a person chooses which transactions end")
    running = range(1, min(2, t.declared.evses) + 1)
    with precondition():
        await _master_pass(t)
        for evse in running:
            await t.charging(evse)
    t.forget()
    await t.present(t.declared.other_token)
    await asks_about(t, t.declared.other_token, "C01.FR.02")
    for evse in running:
        await t.unplug(evse)
    for _ in running:
        event = await ended(t, "C16.FR.02")
        t.check(stopped(event) == "MasterPass", "C16.FR.02", f"the transaction ends with the reason {stopped(event)}")


async def _chooses(t: StationTest, action: Action, *ended_at: int) -> None:
    """Let both EVSEs charge, and the holder of the master pass choose; expect these transactions to end."""
    other = t.declared.other_token
    with precondition():
        await _master_pass(t)
        running = {evse: await t.charging(evse) for evse in (1, 2)}
    t.forget()
    await t.do(Step(action, ended_at[0], other.id, other.type))
    for evse in ended_at:
        await t.unplug(evse)
    for evse in ended_at:
        event = await ended(t, "C16.FR.07", transactionInfo__transactionId=running[evse])
        t.check(stopped(event) == "MasterPass", "C16.FR.08", f"the transaction ends with the reason {stopped(event)}")
    await t.nothing("TransactionEvent", "C16.FR.07", within=5, eventType="Ended")


_CHOICE: Final = ("choice of transactions", "2 EVSEs")


@C.case("TC_C_47_CS", "A master pass stops everything, by choice", also="C16.FR.01 C16.FR.07 C16.FR.08", needs=_CHOICE)
async def master_pass_chooses_all(t: StationTest) -> None:
    """The station stops all transactions once the holder of the master pass has chosen so."""
    await _chooses(t, "choose-all", 1, 2)


@C.case(
    "TC_C_48_CS", "A master pass stops one transaction, by choice", also="C16.FR.01 C16.FR.07 C16.FR.08", needs=_CHOICE
)
async def master_pass_chooses_one(t: StationTest) -> None:
    """The station stops the transaction that the holder of the master pass has chosen, and no other."""
    await _chooses(t, "choose", 1)
