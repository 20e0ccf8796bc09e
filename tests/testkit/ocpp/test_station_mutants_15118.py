"""Faults of stations in what they do with vehicles that speak ISO 15118: as in `test_station_mutants`."""

import re
from typing import Any

import pytest

from tests.testkit.ocpp.rig import Change, Frame
from tests.testkit.ocpp.station_mutants import (
    Make,
    Mutant,
    answers,
    believes,
    dropped,
    fails_its_cases_only,
    hears,
    of_event,
    replaced,
    sets,
    tells,
    without,
)
from v2g_testkit.ocpp.case import Payload
from v2g_testkit.ocpp.station_cases.iso_15118 import ISO_15118


def _fault(name: str, make: Make, /, **fails: tuple[int, ...]) -> Mutant:
    return Mutant(name, make, fails)


def _all(*makes: Make) -> Make:
    """Change frames by several faults, one after the other."""

    def make() -> Change:
        changes = [each() for each in makes]

        def change(way: str, frame: Frame) -> list[Frame]:
            frames = [frame]
            for each in changes:
                frames = [found for one in frames for found in each(way, one)]
            return frames

        return change

    return make


def _no_contract(payload: Payload) -> Payload | None:
    return None if payload["idToken"]["type"] == "eMAID" else payload


def _fine(status: str) -> Make:
    """Take contracts of a certificateStatus for accepted."""
    accepted = {"idTokenInfo": {"status": "Accepted"}, "certificateStatus": "Accepted"}
    return believes("Authorize", lambda _, a: accepted if a.get("certificateStatus") == status else a)


def _refuse_contract(asked: Payload, answer: Payload) -> Payload:
    return {"idTokenInfo": {"status": "Invalid"}} if asked["idToken"]["type"] == "eMAID" else answer


def _given(_: Payload, answer: Payload) -> Payload:
    return answer | {"status": "Accepted", "exiResponse": "gA=="}


def _first_only() -> Change:
    """Ask for the status of every other certificate."""
    asked = 0

    def change(way: str, frame: Frame) -> list[Frame]:
        nonlocal asked
        if way == "from" and frame[0] == 2 and frame[2] == "GetCertificateStatus":
            asked += 1
            return [] if asked % 2 == 0 else [frame]
        return [frame]

    return change


def _drops_after(status: str) -> Make:
    """Drop the V2G certificate after an answer about its status."""

    def make() -> Change:
        heard = [False]

        def hear(_: Payload, answer: Payload) -> Payload:
            heard[0] = answer["status"] == status
            return answer

        def lists(_: Payload, answer: Payload) -> Payload:
            entries = answer.get("certificateHashDataChain", [])
            kept = [each for each in entries if each["certificateType"] != "V2GCertificateChain"]
            if not heard[0] or kept == entries:
                return answer
            return answer | {"certificateHashDataChain": kept} if kept else {"status": "NotFound"}

        return _all(believes("GetCertificateStatus", hear), answers("GetInstalledCertificateIds", lists))()

    return make


def _counts_needs(late: bool) -> Make:
    """Send the needs of a vehicle once for each transaction, or reject profiles before it has sent them twice."""

    def make() -> Change:
        sent = 0
        refused: set[str] = set()

        def change(way: str, frame: Frame) -> list[Frame]:
            nonlocal sent
            match way, frame:
                case "from", [2, _, "TransactionEvent", {"eventType": "Ended"}]:
                    sent = 0
                case "from", [2, _, "NotifyEVChargingNeeds", _]:
                    sent += 1
                    return [] if late and sent > 1 else [frame]
                case "to", [2, identifier, _, payload]:
                    refused.discard(identifier)
                    if not late and sent < 2 and payload.get("chargingProfile", {}).get("stackLevel") == 1:
                        refused.add(identifier)
                case "from", [3, identifier, {"status": "Accepted"}] if identifier in refused:
                    return [[3, identifier, {"status": "Rejected"}]]
            return [frame]

        return change

    return make


def _limited(watts: float, **of: Any) -> Make:
    """Take another limit from profiles with these values."""

    def edit(payload: Payload) -> Payload:
        wanted = payload["chargingProfile"]
        if all(wanted.get(name) == value for name, value in of.items()):
            for period in wanted["chargingSchedule"][0]["chargingSchedulePeriod"]:
                period["limit"] = watts
        return payload

    return hears("SetChargingProfile", edit)


def _remembers() -> Change:
    """Keep something under the certificate about which it is asked most."""
    asked: list[str] = []

    def hear(payload: Payload) -> Payload:
        asked.append(payload["customerCertificate"]["serialNumber"])
        return payload

    def tell(payload: Payload) -> Payload:
        return payload | {"data": "a contract"} if asked.count(asked[-1]) + len(asked) > 2 else payload

    return _all(hears("CustomerInformation", hear), tells("NotifyCustomerInformation", tell))()


MUTANTS: tuple[Mutant, ...] = (
    # -- contracts
    _fault("sends no hashes", tells("Authorize", without("iso15118CertificateHashData")), C=(50, 51)),
    _fault("takes every contract unasked", tells("Authorize", _no_contract), C=(50, 51, 52, 53)),
    _fault("sends no chains", tells("Authorize", without("certificate")), C=(52, 53)),
    _fault("takes cancelled contracts", _fine("ContractCancelled"), C=(51,)),
    _fault("takes revoked contracts", _fine("CertificateRevoked"), C=(53,)),
    _fault("refuses contracts", believes("Authorize", _refuse_contract), C=(50, 52)),
    _fault("takes no contract offline", sets("ContractValidationOffline", "false"), C=(54,)),
    _fault("always validates contracts offline", sets("ContractValidationOffline", "true"), C=(55,)),
    _fault("does not say that it was offline", of_event(offline=None), C=(54,)),
    _fault("remembers contracts", _remembers, N=(63,)),
    # -- contracts for vehicles
    _fault(
        "only updates contracts", tells("Get15118EVCertificate", replaced("action", "Install", "Update")), M=(26, 27)
    ),
    _fault(
        "only installs contracts", tells("Get15118EVCertificate", replaced("action", "Update", "Install")), M=(28, 29)
    ),
    _fault("gets no contracts", tells("Get15118EVCertificate", dropped), M=(26, 27, 28, 29)),
    _fault(
        "charges vehicles that got no contract",
        _all(believes("Get15118EVCertificate", _given), _fine("ContractCancelled")),
        M=(27, 29),
    ),
    # -- the status of its certificate
    _fault("asks for no status", tells("GetCertificateStatus", dropped), M=(24, 25)),
    _fault("asks for the status of its certificate only", _first_only, M=(24, 25)),
    _fault("drops a certificate that is good", _drops_after("Accepted"), M=(24,)),
    _fault("drops a certificate without a status", _drops_after("Failed"), M=(25,)),
    # -- needs, schedules, ends
    _fault("says that the driver stopped", of_event(stoppedReason=("StoppedByEV", "Local")), E=(46,)),
    _fault("says that a button was pressed", of_event(triggerReason=("StopAuthorized", "StopButton")), E=(46,)),
    _fault("sends no needs", tells("NotifyEVChargingNeeds", dropped), K=(53, 54, 57, 58)),
    _fault("sends needs once", _counts_needs(late=True), K=(57,)),
    _fault(
        "loses transactions", answers("GetTransactionStatus", lambda _, a: a | {"ongoingIndicator": False}), K=(54,)
    ),
    _fault("has a default of its own", _limited(9000.0, chargingProfilePurpose="TxDefaultProfile"), K=(56,)),
    _fault("ignores the schedule made for a vehicle", _limited(9000.0, stackLevel=0), K=(53, 56)),
    _fault("keeps to the first schedule", _limited(6000.0, stackLevel=1), K=(57, 58)),
    _fault("takes schedules for needs only", _counts_needs(late=False), K=(58,)),
)


LONG = [pytest.param(each, marks=() if n % 4 == 0 else pytest.mark.long) for n, each in enumerate(MUTANTS)]
"""Every fourth for each change, all of them at length."""


@pytest.mark.some(2)
@pytest.mark.parametrize("mutant", LONG, ids=lambda mutant: re.sub(r"\W+", "-", mutant.name))
def test_a_fault_is_found_by_its_cases_only(mutant: Mutant) -> None:
    fails_its_cases_only(mutant, ISO_15118.cases)
