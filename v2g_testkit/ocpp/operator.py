"""What only an operator of a back end under test can do: have it send a request to a station.

A person is asked, or a command or a relay over HTTP carries the step out; a maker writes one of the latter two for its
own interface. `V2gOperator` is that of this project's back end.

A relay gets each step as a POST of JSON, `{"station": "CS-1", "action": "Reset", "payload": {"type": "OnIdle"}}`, and
answers 200 (done), 501 (not possible), or any other status with a text that says why it failed.
"""

import hashlib
import json
import shlex
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from v2g import typed_json
from v2g.energy.price_plan import PricePlan
from v2g.errors import ConfigError, TransferError
from v2g.io.http.client import HttpAnswer, request
from v2g.ocpp.messages import tariff_cost
from v2g.ocpp.times import parse_time
from v2g.text import printable
from v2g.translate.station_tariffs import plan_of
from v2g_testkit.ocpp.case import Inconclusive, NotApplicable, NotExercised, Payload
from v2g_testkit.ocpp.driver import NOT_POSSIBLE, exit_code

REGISTRATION: Final = "Registration"
"""A step that is not a request of OCPP: how the back end shall answer BootNotification of a station, `status`."""

TRANSACTION_LIMIT: Final = "TransactionLimit"
"""Another one: the back end shall limit a transaction, `transactionId`, by `transactionLimit` (E16)."""

PAYMENT: Final = "Payment"
"""Another one: a terminal that is no part of a station reports a payment (C24): `pspRef` for the EVSE `evseId`, of at
most `transactionLimit`."""

WEB_PAYMENT: Final = "WebPayment"
"""Another one: a driver opens the address of a QR code, `url`, and pays as in `PAYMENT`, if the back end lets it (C25).

The step is done, too, if the back end refuses the address.
"""

RESTART: Final = "Restart"
"""Another one: the back end shall be restarted, because it is stuck."""

FREE: Final = frozenset({"requestId", "remoteStartId", "id", "versionNumber", "expiryDateTime"})
"""Fields of a step's payload for which a back end may choose another value."""

NEW_MESSAGE: Final = 0
"""`message.id` of SetDisplayMessage for a new message, whose id the back end chooses; others replace a message."""

_MOST_ANSWER: Final = 100_000


class OperatorStep(msgspec.Struct, frozen=True):
    """The back end shall send `action` of OCPP, with this payload, to a station."""

    station: str
    action: str
    payload: Payload

    @property
    def sentence(self) -> str:
        """The step for a person."""
        if self.action == REGISTRATION:
            return f"Let the back end answer the next BootNotification of {self.station} with {self.payload['status']}"
        if self.action == RESTART:
            return "Restart the back end"
        if self.action == TRANSACTION_LIMIT:
            limit = json.dumps(self.payload["transactionLimit"])
            return f"Let the back end limit transaction {self.payload['transactionId']} of {self.station}: {limit}"
        if self.action == PAYMENT:
            return f"Let a payment terminal report to the back end, for {self.station}: {json.dumps(self.payload)}"
        if self.action == WEB_PAYMENT:
            return f"Open the address of {self.station}, and pay if you may: {json.dumps(self.payload)}"
        about = json.dumps({name: value for name, value in self.payload.items() if name not in FREE})
        return f"Let the back end send {self.action} to {self.station}: {about}"


class Operator(Protocol):
    """Carries out steps."""

    async def do(self, step: OperatorStep) -> None:
        """Carry out a step, whatever the station answers. Raises NotApplicable if the back end cannot do it,
        Inconclusive if it failed.
        """


class NoOperator:
    """No operator: requests of the back end cannot be asked for. Implements Operator."""

    async def do(self, step: OperatorStep) -> None:
        raise NotExercised(f"needs an operator of the back end: {step.sentence} (--operator or --prompt)")


class PromptOperator:
    """A person, who is asked; `ask` shows a sentence and returns the typed answer. Implements Operator."""

    def __init__(self, ask: Callable[[str], Awaitable[str]]) -> None:
        self._ask = ask

    async def do(self, step: OperatorStep) -> None:
        answer = await self._ask(f"{step.sentence}, then press Enter (n: not possible)")
        if answer.strip().lower().startswith("n"):
            raise NotApplicable(f"not possible at this back end: {step.sentence}")


class CommandOperator:
    """Operator: a command for each step; {station}, {action}, {payload} are replaced. Exit code 3: not possible."""

    def __init__(self, command: str, timeout_s: float = 60.0) -> None:
        try:
            shlex.split(command.format(station="CS", action="Reset", payload="{}"))
        except (ValueError, KeyError, IndexError) as error:
            hint = "{station}, {action} and {payload} are replaced"
            raise ConfigError(f"--operator {command}: {error}", hint=hint) from None
        self._command, self._timeout_s = command, timeout_s

    async def do(self, step: OperatorStep) -> None:
        fields = {"station": step.station, "action": step.action, "payload": json.dumps(step.payload)}
        words = [each.format(**fields) for each in shlex.split(self._command)]
        code = await exit_code("--operator", words, self._timeout_s)
        if code == NOT_POSSIBLE:
            raise NotApplicable(f"not possible at this back end: {step.sentence}")
        if code:
            raise Inconclusive(f"--operator ended with {code}: {step.sentence}")


Exchange = Callable[[str, str, bytes], Awaitable[HttpAnswer]]
"""Takes a method, a path and a body; sends a request and returns the answer. Raises TransferError."""


def exchange_with(
    url: str, headers: Mapping[str, str] | None = None, context: ssl.SSLContext | None = None, timeout_s: float = 60.0
) -> Exchange:
    """Return requests to a server: `url` is put before each path."""

    async def exchange(method: str, path: str, body: bytes) -> HttpAnswer:
        return await request(
            method,
            url.rstrip("/") + path,
            most=_MOST_ANSWER,
            timeout_s=timeout_s,
            body=body or None,
            headers={"Content-Type": "application/json", **(headers or {})},
            context=context,
        )

    return exchange


class RelayOperator:
    """A maker's relay (see above). Implements Operator."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def do(self, step: OperatorStep) -> None:
        await _send(self._exchange, step, "POST", "", msgspec.to_builtins(step))


class V2gOperator:
    """This project's back end, by its HTTP API; a token of the role admin is needed. Implements Operator.

    `as_named`: its stations speak OCPP 1.6; requests of it are sent as they are, or as the back end records them.
    """

    def __init__(self, exchange: Exchange, *, as_named: bool = False) -> None:
        self._exchange, self._as_named = exchange, as_named

    async def do(self, step: OperatorStep) -> None:
        if self._as_named and step.action not in (REGISTRATION, RESTART):
            path = f"/stations/{quote(step.station, safe='')}/commands/{step.action}"
            await _send(self._exchange, step, "POST", path, _recorded(step.action, step.payload))
        elif step.action == WEB_PAYMENT:
            sent = step.payload
            path = f"/stations/{quote(step.station, safe='')}/qr-scans"
            answer = await _send(self._exchange, step, "POST", path, {"url": sent["url"]}, refusal=409)
            if answer.ok:
                number = typed_json.decode(answer.body, _Scan).payment_id
                body = {"psp_ref": sent["pspRef"], "limit": sent["transactionLimit"]}
                await _send(self._exchange, step, "POST", f"/web-payments/{number}/paid", body)
        else:
            for before in _preparations(step):
                await _send(self._exchange, step, *before)
            await _send(self._exchange, step, *_operation(step))


class _Scan(msgspec.Struct, frozen=True):
    payment_id: int


async def _send(
    exchange: Exchange, step: OperatorStep, method: str, path: str, body: object, *, refusal: int = 0
) -> HttpAnswer:
    """Return the answer, which has a good status or that of a refusal. Raises NotApplicable, Inconclusive."""
    try:
        answer = await exchange(method, path, b"" if body is None else json.dumps(body).encode())
    except TransferError as error:
        raise Inconclusive(f"--operator: {error}: {step.sentence}") from None
    if answer.status == 501:
        raise NotApplicable(f"not possible at this back end: {step.sentence}")
    if not answer.ok and answer.status != refusal:
        said = printable(answer.body[:500].decode(errors="replace"))
        raise Inconclusive(f"--operator: HTTP status {answer.status}: {said}: {step.sentence}")
    return answer


def operator_of(text: str) -> Operator:
    """Return the operator of an option: the URL of a relay, else a command. Raises ConfigError."""
    if text.partition("://")[0] in ("http", "https"):
        return RelayOperator(exchange_with(text))
    return CommandOperator(text)


def _recorded(action: str, sent: Payload) -> Payload:
    """Return the payload of a request of OCPP 1.6, in the form of 2.0.1 where our back end records that."""
    token = {"idToken": sent.get("idTag", ""), "type": "ISO14443"}
    match action:
        case "SendLocalList":
            entries = [
                {"idToken": token | {"idToken": each["idTag"]}, "idTokenInfo": each["idTagInfo"]}
                for each in sent["localAuthorizationList"]
            ]
            about = {"versionNumber": sent["listVersion"], "updateType": sent["updateType"]}
            return about | {"localAuthorizationList": entries}
        case "UpdateFirmware":
            firmware = {"location": sent["location"], "retrieveDateTime": sent["retrieveDate"]}
            return {"requestId": parse_time(sent["retrieveDate"]) % 2**31, "firmware": firmware}
        case "ReserveNow":
            place = {"evseId": sent["connectorId"]} if sent["connectorId"] else {}
            return {"id": sent["reservationId"], "expiryDateTime": sent["expiryDate"], "idToken": token} | place
        case "SetChargingProfile":
            profile = sent["csChargingProfiles"]
            schedule = {"id": 1, **profile["chargingSchedule"]}
            own = ("stackLevel", "chargingProfilePurpose", "chargingProfileKind")
            transaction = {"transactionId": str(profile["transactionId"])} if "transactionId" in profile else {}
            about = {"id": profile["chargingProfileId"], "chargingSchedule": [schedule], **transaction}
            return {"evseId": sent["connectorId"], "chargingProfile": about | {each: profile[each] for each in own}}
        case "ClearChargingProfile":
            names = {"evseId": "connectorId", "stackLevel": "stackLevel",
                     "chargingProfilePurpose": "chargingProfilePurpose"}  # fmt: skip
            return {"chargingProfileCriteria": {name: sent[field] for name, field in names.items() if field in sent}}
    return sent


def _plan(tariff: Payload) -> PricePlan:
    """Return the price plan of a tariff, by an id that goes with its contents, which never change at our back end."""
    digest = hashlib.sha256(json.dumps(tariff, sort_keys=True).encode()).hexdigest()
    return msgspec.structs.replace(
        plan_of(typed_json.convert(tariff, tariff_cost.Tariff), "UTC"), id=f"tester-{digest[:16]}"
    )


def _preparations(step: OperatorStep) -> Iterator[tuple[str, str, object]]:
    """Yield what our back end has to know before it carries out a step: method, path and body of each operation."""
    if tariff := step.payload.get("tariff"):
        yield "POST", "/tariffs", msgspec.to_builtins(_plan(tariff))
    if identity := step.payload.get("connectionData", {}).get("identity"):
        yield "PUT", f"/admissions/{quote(identity, safe='')}", {"decision": "Accepted"}


def _operation(step: OperatorStep) -> tuple[str, str, object]:
    """Return method, path and body of the operation of our HTTP API that does the most for a step by itself."""
    sent = step.payload
    here = f"/stations/{quote(step.station, safe='')}"
    match step.action:
        case "Registration":
            return "PUT", f"/admissions/{quote(step.station, safe='')}", {"decision": sent["status"]}
        case "TransactionLimit":
            names = {"max_cost": "maxCost", "max_energy_wh": "maxEnergy", "max_time_s": "maxTime", "max_soc": "maxSoC"}
            body = {name: sent["transactionLimit"].get(field) for name, field in names.items()}
            return "PUT", f"/transactions/{quote(sent['transactionId'], safe='')}/limit", body
        case "Payment":
            token = {"idToken": sent["pspRef"], "type": "DirectPayment"}
            body = {"id_token": token, "evse_id": sent["evseId"], "limit": sent["transactionLimit"]}
            return "POST", f"{here}/transactions", body
        case "GetVariables":
            return "POST", f"{here}/variables/read", {"variables": sent["getVariableData"]}
        case "SetVariables" if (password := _password_of(sent)) is not None:
            body = {"password": password, "rotate": True}
            return "POST", f"/admissions/{quote(step.station, safe='')}/password", body
        case "SetVariables" if sent["setVariableData"][0]["component"]["name"] == "WebPaymentsCtrlr":
            values = {each["variable"]["name"]: each["attributeValue"] for each in sent["setVariableData"]}
            body = {"template": values["URLTemplate"], "validity_s": int(values["ValidityTime"])}
            return "POST", f"{here}/qr-codes", body | {"length": int(values["Length"])}
        case "SetVariables":
            return "POST", f"{here}/variables", {"variables": sent["setVariableData"]}
        case "GetBaseReport":
            return "POST", f"{here}/report", {"base": sent["reportBase"]}
        case "Reset":
            return "POST", f"{here}/reset", {"type": sent["type"], "evse_id": sent.get("evseId")}
        case "SetNetworkProfile":
            return "PUT", f"{here}/network-profiles/{sent['configurationSlot']}", sent["connectionData"]
        case "SetDefaultTariff":
            return "PUT", f"{here}/tariff", {"plan_id": _plan(sent["tariff"]).id, "evse_id": sent["evseId"]}
        case "ChangeTransactionTariff":
            path = f"/transactions/{quote(sent['transactionId'], safe='')}/tariff"
            return "PUT", path, {"plan_id": _plan(sent["tariff"]).id}
        case "ClearCache":
            return "POST", f"{here}/clear-cache", None
        case "SendLocalList" if sent["updateType"] == "Full":
            if "localAuthorizationList" not in sent:
                return "DELETE", f"{here}/local-list", None
            return "POST", f"{here}/local-list/synchronise", None
        case "RequestStartTransaction" if sent.keys() <= {"idToken", "remoteStartId", "evseId", "chargingProfile"}:
            body = {"id_token": sent["idToken"], "evse_id": sent.get("evseId")}
            return "POST", f"{here}/transactions", body | {"charging_profile": sent.get("chargingProfile")}
        case "RequestStopTransaction":
            return "POST", f"/transactions/{quote(sent['transactionId'], safe='')}/stop", None
        case "UnlockConnector":
            return "POST", f"{here}/evses/{sent['evseId']}/connectors/{sent['connectorId']}/unlock", None
        case "SetChargingProfile":
            body = {"evse_id": sent["evseId"], "profile": sent["chargingProfile"]}
            return "POST", f"{here}/charging-profiles", body
        case "UpdateDynamicSchedule":
            return "PUT", f"{here}/charging-profiles/{sent['chargingProfileId']}/schedule", sent["scheduleUpdate"]
        case "ChangeAvailability":
            evse = sent.get("evse", {})
            place = {"evse_id": evse.get("id", 0), "connector_id": evse.get("connectorId", 0)}
            return "POST", f"{here}/availability", {"wanted": sent["operationalStatus"], **place}
        case "ReserveNow":
            body = {"id_token": sent["idToken"], "expires_ms": parse_time(sent["expiryDateTime"])}
            more = {"evse_id": "evseId", "connector_type": "connectorType", "group_id_token": "groupIdToken"}
            return "POST", f"{here}/reservations", body | {name: sent.get(field) for name, field in more.items()}
        case "CancelReservation":
            return "DELETE", f"/reservations/{sent['reservationId']}", None
        case "GetMonitoringReport" if "componentVariable" not in sent:
            return "POST", f"{here}/monitors/report", {"criteria": sent.get("monitoringCriteria", [])}
        case "SetMonitoringBase":
            return "PUT", f"{here}/monitors/base", {"base": sent["monitoringBase"]}
        case "SetMonitoringLevel":
            return "PUT", f"{here}/monitors/level", {"severity": sent["severity"]}
        case "SetVariableMonitoring":
            return "POST", f"{here}/monitors", {"monitors": sent["setMonitoringData"]}
        case "ClearVariableMonitoring":
            return "POST", f"{here}/monitors/clear", {"monitor_ids": sent["id"]}
        case "GetLog":
            log = sent["log"]
            times = {"oldest_ms": "oldestTimestamp", "latest_ms": "latestTimestamp"}
            body = {name: parse_time(log[field]) for name, field in times.items() if field in log}
            body |= {"log_type": sent["logType"], "remote_location": log["remoteLocation"]}
            return "POST", f"{here}/logs", body | _retries(sent)
        case "CustomerInformation":
            body = {"report": sent["report"], "clear": sent["clear"], "id_token": sent.get("idToken")}
            more = {"certificate": "customerCertificate", "identifier": "customerIdentifier"}
            return (
                "POST",
                f"{here}/customer-information",
                body | {name: sent.get(field) for name, field in more.items()},
            )
        case "SetDisplayMessage" if sent["message"]["id"] == NEW_MESSAGE:
            return "POST", f"{here}/display-messages", sent["message"]
        case "SetDisplayMessage":
            return "PUT", f"{here}/display-messages/{sent['message']['id']}", sent["message"]
        case "GetDisplayMessages" if sent.keys() == {"requestId"}:
            return "POST", f"{here}/display-messages/report", None
        case "ClearDisplayMessage":
            return "DELETE", f"{here}/display-messages/{sent['id']}", None
        case "UpdateFirmware":
            return "POST", f"{here}/firmware", _update(sent["firmware"]) | _retries(sent)
        case "PublishFirmware":
            body = {"location": sent["location"], "checksum": sent["checksum"]}
            return "POST", f"{here}/firmware/publish", body
        case "UnpublishFirmware":
            return "POST", f"{here}/firmware/unpublish", {"checksum": sent["checksum"]}
        case "InstallCertificate":
            return "POST", f"{here}/certificates", {"use": sent["certificateType"], "pem": sent["certificate"]}
        case "GetInstalledCertificateIds" if len(sent.get("certificateType", [])) < 2:
            query = "".join(f"?use={each}" for each in sent.get("certificateType", []))
            return "GET", f"{here}/certificates{query}", None
        case "DeleteCertificate":
            return "POST", f"{here}/certificates/delete", sent["certificateHashData"]
    return "POST", f"{here}/commands/{step.action}", sent


def _password_of(sent: Payload) -> str | None:
    """Return the password that a request sets, if that is all it does (A01)."""
    match sent["setVariableData"]:
        case [{"variable": {"name": "BasicAuthPassword"}, "attributeValue": password}]:
            return str(password)
    return None


def _retries(sent: Payload) -> Payload:
    """Return how often and after how long a station tries a transfer again."""
    return {"retries": sent.get("retries"), "retry_interval_s": sent.get("retryInterval")}


def _update(firmware: Payload) -> Payload:
    names = {"location": "location", "signing_certificate": "signingCertificate", "signature": "signature"}
    times = {"retrieve_ms": "retrieveDateTime", "install_ms": "installDateTime"}
    body = {name: parse_time(firmware[field]) for name, field in times.items() if field in firmware}
    return body | {"image": {name: firmware.get(field) for name, field in names.items()}}
