"""Vehicles that speak ISO 15118: contracts (C07, N10, M01, M02), needs and schedules (K15 to K17), ends (E15), and the
status of the certificate that they are shown (M06); cases for charging stations."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from v2g_testkit.ocpp.case import Block, Payload, given, precondition
from v2g_testkit.ocpp.connection import Received, field_of
from v2g_testkit.ocpp.driver import Step
from v2g_testkit.ocpp.station_cases import roots
from v2g_testkit.ocpp.station_cases.block_n import customer
from v2g_testkit.ocpp.station_cases.profiles import accepted, cleared, follows, profile
from v2g_testkit.ocpp.station_cases.steps import forget_tokens, points, prefer, refuses
from v2g_testkit.ocpp.station_tester import StationTest

CONTROLLER: Final = "ISO15118Ctrlr"
NEEDS: Final = (f"{CONTROLLER}.Enabled",)
SMART: Final = ("SmartChargingCtrlr.Enabled", *NEEDS)
CHAIN: Final = "V2GCertificateChain"
RESPONDER: Final = "http://ocsp.example/v2g"
PATIENCE_S: Final = 120.0
"""From the plug to a vehicle's first request of the back end, and again to the flow of energy: it may wait 60 s for a
schedule (K15.FR.08)."""
AWAY_S: Final = 90.0
ISO_15118: Final[Block[StationTest]] = Block(profiles=("ISO 15118 Support",), needs=(f"{CONTROLLER}.Enabled",))
ISO_SMART: Final = ISO_15118.having(needs=SMART)
_ACCEPTED: Final[Payload] = {"idTokenInfo": {"status": "Accepted"}, "certificateStatus": "Accepted"}
_CANCELLED: Final[Payload] = {"idTokenInfo": {"status": "Invalid"}, "certificateStatus": "ContractCancelled"}


async def _let(t: StationTest, values: Mapping[str, str], *, must: bool = True) -> None:
    """Set variables of the controller of ISO 15118: of the station, else of EVSE 1. Raises NotApplicable."""
    for variable, value in values.items():
        places: tuple[dict[str, object], ...] = ({}, {"evse": 1})
        for place in places:
            found = await t.get(CONTROLLER, variable, **place)
            if found["attributeStatus"] == "Accepted":
                await t.demand(CONTROLLER, variable, value, **place)
                break
        else:
            t.needs(not must, f"the station does not have {CONTROLLER}.{variable}")


# -- contracts (C07)


async def _contracts(t: StationTest, *, trusted: bool, **values: str) -> None:
    """Let the station take contracts, and have their root or not; for preconditions."""
    with precondition():
        await prefer(t, "AuthCtrlr", "Enabled", "true")
        await _let(t, {"PnCEnabled": "true"}, must=False)
        await _let(t, values)
        await roots.trust_contracts(t, trusted=trusted)
        await forget_tokens(t)
    t.forget()


async def _shown(t: StationTest, answer: Payload) -> Payload:
    """Let a vehicle with a contract come, of which the back end says this; return the Authorize. Raises Failed."""
    t.answer("Authorize", answer)
    await t.vehicle("contract")
    return await t.expect("Authorize", "C07.FR.01", within=PATIENCE_S, idToken__type="eMAID")


async def _charges(t: StationTest, contract: Payload, requirement: str) -> None:
    """Expect an event with the contract, and then energy. Raises Failed."""
    emaid = contract["idToken"]["idToken"].lower()
    event = await t.find(
        lambda each: (
            each.action == "TransactionEvent" and str(field_of(each.payload, "idToken__idToken")).lower() == emaid
        )
    )
    t.check(event is not None, requirement, "sends no event with the contract's EMAID")
    await t.expect("TransactionEvent", requirement, within=PATIENCE_S, transactionInfo__chargingState="Charging")


@ISO_15118.case("TC_C_50_CS", "A contract that the station validates", also="C07.FR.01")
async def contract_accepted(t: StationTest) -> None:
    """The station sends the EMAID, and the hashes of the contract's certificates; then the vehicle charges."""
    await _contracts(t, trusted=True)
    contract = await _shown(t, _ACCEPTED)
    t.check(bool(contract.get("iso15118CertificateHashData")), "C07.FR.02", "sends no hashes of certificates")
    await _charges(t, contract, "E02.FR.01")


@ISO_15118.case("TC_C_51_CS", "A contract that the station validates, and the back end has cancelled", also="C07.FR.01")
async def contract_cancelled(t: StationTest) -> None:
    """The station sends the EMAID, and the hashes of the contract's certificates; the vehicle does not charge."""
    await _contracts(t, trusted=True)
    contract = await _shown(t, _CANCELLED)
    t.check(bool(contract.get("iso15118CertificateHashData")), "C07.FR.02", "sends no hashes of certificates")
    await refuses(t, "C01.FR.01", within=15)


async def _shown_unknown(t: StationTest, answer: Payload) -> Payload:
    """As `_shown`, with a contract whose root the station does not have: it sends the chain. Raises Failed."""
    await _contracts(t, trusted=False, CentralContractValidationAllowed="true")
    contract = await _shown(t, answer)
    t.check("BEGIN CERTIFICATE" in contract.get("certificate", ""), "C07.FR.06", "sends no chain of the contract")
    return contract


@ISO_15118.case("TC_C_52_CS", "A contract that the back end validates", also="C07.FR.01 C07.FR.06")
async def chain_accepted(t: StationTest) -> None:
    """The station, which does not have its root, sends the contract's chain; then the vehicle charges."""
    await _charges(t, await _shown_unknown(t, _ACCEPTED), "E02.FR.01")


@ISO_15118.case("TC_C_53_CS", "A contract that the back end validates, and that is revoked", also="C07.FR.01 C07.FR.06")
async def chain_revoked(t: StationTest) -> None:
    """The station, which does not have its root, sends the contract's chain; the vehicle does not charge."""
    await _shown_unknown(t, {"idTokenInfo": {"status": "Invalid"}, "certificateStatus": "CertificateRevoked"})
    await refuses(t, "C01.FR.01", within=15)


@ISO_15118.case("TC_C_54_CS", "A contract while the station is offline, which validates it", also="C07.FR.08")
async def contract_offline(t: StationTest) -> None:
    """The vehicle charges, and the station reports it once it is online."""
    with precondition():
        await prefer(t, "AuthCtrlr", "LocalAuthorizeOffline", "true")
        await t.demand("AuthCtrlr", "OfflineTxForUnknownIdEnabled", "true")
    await _contracts(t, trusted=True, ContractValidationOffline="true")
    t.answer("Authorize", _CANCELLED)  # once it is online it is too late to ask
    async with t.away(AWAY_S):
        await t.vehicle("contract")
    event = await t.expect("TransactionEvent", "C07.FR.12", idToken__type="eMAID")
    t.check(event.get("offline") is True, "E08.FR.07", "does not say that it was offline")
    await t.expect("TransactionEvent", "C07.FR.12", within=PATIENCE_S, transactionInfo__chargingState="Charging")


@ISO_15118.case("TC_C_55_CS", "A contract while the station is offline, which must not validate it")
async def contract_waits(t: StationTest) -> None:
    """The vehicle does not charge."""
    await given(prefer(t, "AuthCtrlr", "OfflineTxForUnknownIdEnabled", "true"))
    await _contracts(t, trusted=True, ContractValidationOffline="false")
    t.answer("Authorize", _CANCELLED)
    async with t.away(AWAY_S):
        await t.vehicle("contract")
    await refuses(t, "C07.FR.07")


@ISO_15118.case(
    "TC_N_63_CS", "Forget a customer by the contract's certificate", requirements="N10.FR.01 N10.FR.03 N10.FR.04"
)
async def contract_forgotten(t: StationTest) -> None:
    """The station has nothing stored under the certificate once it has removed that."""
    await _contracts(t, trusted=True)
    with precondition():
        hashes = (await _shown(t, _ACCEPTED)).get("iso15118CertificateHashData", [])
        t.check(bool(hashes), "C07.FR.02", "sends no hashes of certificates")
        await t.leave()
    leaf = {name: value for name, value in hashes[0].items() if name != "responderURL"}
    other = leaf | {"serialNumber": f"{int(leaf['serialNumber'], 16) + 1:x}"}
    number = t.next_id()
    answer = await t.ask("CustomerInformation", requestId=number, report=True, clear=False, customerCertificate=other)
    t.needs(answer["status"] == "Accepted", "it does not know customers by their certificates")
    nothing = (await t.expect("NotifyCustomerInformation", "N09.FR.06", requestId=number))["data"]
    before = await customer(t, "N10.FR.01", report=True, clear=True, customerCertificate=leaf)
    after = await customer(t, "N10.FR.01", report=True, customerCertificate=leaf)
    t.check(after in ("", nothing) or after != before, "N10.FR.03", "still reports the same")


# -- contracts for vehicles (M01, M02)


_GIVEN: Final[Payload] = {"status": "Accepted", "exiResponse": base64.b64encode(b"\x80").decode()}
"""No vehicle can open it: the key for which its contract would be sealed is not here."""
_REFUSED: Final[Payload] = {"status": "Failed", "exiResponse": ""}


async def _asks(t: StationTest, action: str, answer: Payload) -> None:
    """Let a vehicle come that asks for a contract, or a newer one; the station asks the back end. Raises Failed."""
    with precondition():
        await _let(t, {"PnCEnabled": "true", "ContractCertificateInstallationEnabled": "true"}, must=False)
        await forget_tokens(t)
    t.forget()
    t.answer("Get15118EVCertificate", answer)
    t.answer("Authorize", _CANCELLED if answer is _REFUSED else _ACCEPTED)  # of the contract that it may have
    await t.vehicle(action.lower())
    requirement = "M01.FR.01" if action == "Install" else "M02.FR.01"
    request = await t.expect("Get15118EVCertificate", requirement, within=PATIENCE_S)
    t.check(request["action"] == action, requirement, f"asks with the action {request['action']}")
    try:
        exi = base64.b64decode(request["exiRequest"], validate=True)
    except (binascii.Error, ValueError):
        exi = b""
    t.check(bool(exi), requirement, "does not pass on the request of the vehicle in base64")


def _case_of_wish(number: int, title: str, action: str, requirement: str, answer: Payload) -> None:
    failed = answer is _REFUSED
    more = " The vehicle is not authorized." if failed else ""

    @ISO_15118.case(
        f"TC_M_{number}_CS",
        title,
        required=f"The station passes the vehicle's request on to the back end, as one to {action.lower()}.{more}",
        requirements=(requirement, "C01.FR.01") if failed else (requirement,),
    )
    async def script(t: StationTest) -> None:
        await _asks(t, action, answer)
        if failed:
            await refuses(t, "C01.FR.01", within=15)


_case_of_wish(26, "A vehicle asks for a contract", "Install", "M01.FR.01", _GIVEN)
_case_of_wish(27, "A vehicle asks for a contract, and gets none", "Install", "M01.FR.01", _REFUSED)
_case_of_wish(28, "A vehicle asks for an update of its contract", "Update", "M02.FR.01", _GIVEN)
_case_of_wish(29, "A vehicle asks for an update of its contract, and gets none", "Update", "M02.FR.01", _REFUSED)


# -- the status of the station's certificate (M06)


def _case_of_status(number: int, title: str, *, good: bool) -> None:
    @ISO_15118.case(f"TC_M_{number}_CS", title, requirements="M06.FR.07")
    async def script(t: StationTest) -> None:
        """With a new V2G certificate the station asks for the status of it, and of its sub-CA."""
        with precondition():
            await _let(t, {"V2GCertificateInstallationEnabled": "true"}, must=False)
            root = await roots.install(t, roots.V2G)
            before = await roots.installed(t, CHAIN)
            t.undo(lambda: roots.delete_others(t, CHAIN, before))
            chain = root.chain(await roots.requested(t, "SignV2GCertificate", "V2GCertificate"), RESPONDER)

            def answer(payload: Payload) -> Payload:
                serial = int(payload["ocspRequestData"]["serialNumber"], 16)
                if not good or serial not in chain.serials:
                    return {"status": "Failed"}
                return {"status": "Accepted", "ocspResult": base64.b64encode(chain.status(serial)).decode()}

            t.answer("GetCertificateStatus", answer)
            t.forget()
            status = await roots.delivered(t, chain.pem, "V2GCertificate")
            t.check(status == "Accepted", "A02.FR.06", f"answers {status} to the certificate")
        for serial, what in zip(chain.serials, ("certificate", "sub-CA"), strict=True):
            data = await t.find(lambda each, serial=serial: _is_about(each, serial))  # type: ignore[misc]
            t.check(data is not None, "M06.FR.07", f"does not ask for the status of its {what}")
        t.check(await roots.installed(t, CHAIN) != before, "M03.FR.05", "does not list the certificate")


def _is_about(message: Received, serial: int) -> bool:
    if message.action != "GetCertificateStatus":
        return False
    try:
        return int(message.payload["ocspRequestData"]["serialNumber"], 16) == serial
    except ValueError:
        return False


_case_of_status(24, "Status of a new V2G certificate", good=True)
_case_of_status(25, "Status of a new V2G certificate, which the back end does not know", good=False)


# -- the end by the vehicle (E15)


@ISO_15118.case("TC_E_46_CS", "A vehicle ends its session")
async def vehicle_ends(t: StationTest) -> None:
    """The station reports StopAuthorized; it ends the transaction, with StoppedByEV, if TxStopPoint says so."""
    with precondition():
        if "EnergyTransfer" in (await t.value("TxCtrlr", "TxStopPoint")).split(","):  # may end it before the session
            await points(t, "TxStopPoint", "Authorized", without=("EnergyTransfer",))
        ends = {"Authorized", "PowerPathClosed"} & set((await t.value("TxCtrlr", "TxStopPoint")).split(","))
        await t.present()
        await t.vehicle("iso-2")
        await t.flowing()
    t.forget()
    await t.do(Step("end"))
    requirement = "E15.FR.04" if ends else "E15.FR.05"
    event = await t.expect("TransactionEvent", requirement, triggerReason="StopAuthorized")
    wanted = "Ended" if ends else "Updated"
    t.check(event["eventType"] == wanted, requirement, f"the event is {event['eventType']} instead of {wanted}")
    reason = event["transactionInfo"].get("stoppedReason")
    t.check(not ends or reason == "StoppedByEV", requirement, f"ends the transaction with the reason {reason}")


# -- needs and schedules (K15 to K17)


async def _arrives(t: StationTest) -> str:
    """Let a vehicle of ISO 15118-2 come, for which the token identifies; return its transaction."""
    with precondition():
        await cleared(t)
        await t.present()
        await t.vehicle("iso-2")
        event = await t.expect("TransactionEvent", "E01.FR.01", eventType="Started")
    return str(event["transactionInfo"]["transactionId"])


async def _tells(t: StationTest, case: str) -> None:
    """Expect the needs of the vehicle. Raises Failed."""
    told = await t.expect("NotifyEVChargingNeeds", f"{case}.FR.01", within=PATIENCE_S, evseId=1)
    kinds = {"acChargingParameters", "dcChargingParameters"} & told["chargingNeeds"].keys()
    t.check(len(kinds) == 1, f"{case}.FR.06", f"sends needs with {' and '.join(sorted(kinds)) or 'no parameters'}")


async def _agreed(t: StationTest) -> str:
    """Let a vehicle charge by a profile made for its needs; return its transaction."""
    transaction = await _arrives(t)
    await _tells(t, "K15")
    await accepted(t, profile(t, {"limit": 6000.0}, transactionId=transaction), "K01.FR.07")
    await given(t.expect("TransactionEvent", within=PATIENCE_S, transactionInfo__chargingState="Charging"))
    return transaction


@ISO_SMART.case("TC_K_53_CS", "A schedule for the needs of a vehicle", also="K15.FR.01 K15.FR.06 K01.FR.07")
async def schedule(t: StationTest) -> None:
    """The station sends the needs, takes the profile made for them, and the vehicle charges by it."""
    await _agreed(t)
    await follows(t, "K08.FR.04", limit=6000)


@ISO_SMART.case("TC_K_54_CS", "No schedule for the needs of a vehicle", also="K15.FR.01 K15.FR.06")
async def no_schedule(t: StationTest) -> None:
    """The station sends the needs; the vehicle charges although the back end has no schedule for it."""
    t.answer("NotifyEVChargingNeeds", {"status": "Rejected"})
    transaction = await _arrives(t)
    await _tells(t, "K15")
    await t.expect("TransactionEvent", "K15.FR.04", within=PATIENCE_S, transactionInfo__chargingState="Charging")
    await t.nothing("TransactionEvent", "K15.FR.04", within=5, eventType="Ended")
    status = await t.ask("GetTransactionStatus", transactionId=transaction)
    t.check(status.get("ongoingIndicator") is True, "K15.FR.04", "ends the transaction")


@ISO_SMART.case("TC_K_56_CS", "The needs of a vehicle while the station is offline", requirements="K15.FR.15")
async def needs_offline(t: StationTest) -> None:
    """The vehicle charges, and the station follows the TxDefaultProfile."""
    with precondition():
        await prefer(t, "TxCtrlr", "EVConnectionTimeOut", "300")
        await cleared(t)
        await accepted(t, profile(t, {"limit": 6000.0}, purpose="TxDefaultProfile"), "K01.FR.07")
        await t.present()
        await t.wait(2)
        t.forget()
    async with t.away(AWAY_S):
        await t.vehicle("iso-2")
    await t.expect("TransactionEvent", "K15.FR.15", within=PATIENCE_S, transactionInfo__chargingState="Charging")
    await follows(t, "K15.FR.15", limit=6000)


@ISO_SMART.case("TC_K_57_CS", "A vehicle renegotiates its schedule", also="K17.FR.01 K17.FR.06")
async def vehicle_renegotiates(t: StationTest) -> None:
    """The station sends the new needs, takes the profile made for them, and follows it."""
    transaction = await _agreed(t)
    t.forget()
    await t.do(Step("needs"))
    await _tells(t, "K17")
    await accepted(t, profile(t, {"limit": 4000.0}, stackLevel=1, transactionId=transaction), "K01.FR.07")
    await follows(t, "K08.FR.04", limit=4000)


@ISO_SMART.case("TC_K_58_CS", "The back end renegotiates the schedule of a vehicle")
async def back_end_renegotiates(t: StationTest) -> None:
    """The station takes the new profile while the vehicle charges by the other one, and follows it."""
    transaction = await _agreed(t)
    await accepted(t, profile(t, {"limit": 3000.0}, stackLevel=1, transactionId=transaction), "K16.FR.01")
    await follows(t, "K08.FR.04", limit=3000)
