"""A charging station of OCPP 1.6 that tests a back end: what differs from that of 2.x."""

import contextlib
from collections.abc import Mapping
from typing import Final

from v2g_testkit.ocpp.case import Payload
from v2g_testkit.ocpp.connection import CallError
from v2g_testkit.ocpp.csms_tester import CsmsTest, CsmsTester

KEYS: Final[Mapping[str, str]] = {
    "AuthorizeRemoteTxRequests": "true", "ConnectionTimeOut": "60", "GetConfigurationMaxKeys": "50",
    "HeartbeatInterval": "300", "LocalAuthorizeOffline": "true", "LocalPreAuthorize": "false",
    "LocalAuthListEnabled": "true", "LocalAuthListMaxLength": "100", "SendLocalListMaxLength": "20",
    "MeterValueSampleInterval": "60", "MeterValuesSampledData": "Energy.Active.Import.Register",
    "ClockAlignedDataInterval": "0", "NumberOfConnectors": "2", "ResetRetries": "1",
    "StopTransactionOnEVSideDisconnect": "true", "StopTransactionOnInvalidId": "true",
    "TransactionMessageAttempts": "3", "TransactionMessageRetryInterval": "20", "UnlockConnectorOnEVSideDisconnect":
    "true", "ChargeProfileMaxStackLevel": "5", "ChargingScheduleAllowedChargingRateUnit": "Current,Power",
    "ChargingScheduleMaxPeriods": "24", "MaxChargingProfilesInstalled": "10", "SecurityProfile": "1",
    "SupportedFeatureProfiles":
    "Core,FirmwareManagement,LocalAuthListManagement,Reservation,SmartCharging,RemoteTrigger",
}  # fmt: skip
"""Configuration keys of the station."""

_STATUS: Final[Mapping[str, str]] = {
    "CancelReservation": "Accepted", "CertificateSigned": "Accepted", "ChangeAvailability": "Accepted",
    "ClearCache": "Accepted", "ClearChargingProfile": "Accepted", "DataTransfer": "UnknownVendorId",
    "DeleteCertificate": "Accepted", "ExtendedTriggerMessage": "Accepted", "GetCompositeSchedule": "Rejected",
    "GetInstalledCertificateIds": "NotFound", "GetLog": "Accepted", "InstallCertificate": "Accepted",
    "RemoteStartTransaction": "Accepted", "RemoteStopTransaction": "Accepted", "ReserveNow": "Accepted",
    "Reset": "Accepted", "SendLocalList": "Accepted", "SetChargingProfile": "Accepted",
    "SignedUpdateFirmware": "Accepted", "TriggerMessage": "Accepted", "UnlockConnector": "Unlocked",
}  # fmt: skip


class CsmsTester16(CsmsTester):
    """The tester."""

    def test(self, stack: contextlib.AsyncExitStack) -> "CsmsTest16":
        return CsmsTest16(self, stack)


class CsmsTest16(CsmsTest):
    """What the script of a case gets: a station of two connectors."""

    def __init__(self, tester: CsmsTester, stack: contextlib.AsyncExitStack) -> None:
        super().__init__(tester, stack)
        self._keys = dict(KEYS)
        self.list_version = 0
        """Of its local list."""
        self.reserved: dict[int, Payload] = {}

    def _boots(self, reason: str) -> Payload:
        about = {"chargePointModel": "Conformance", "chargePointVendor": "v2g-engine"}
        serial = self._station.serial_number
        return about | ({} if serial is None else {"chargePointSerialNumber": serial})

    async def call(self, action: str, /, **payload: object) -> Payload:
        answer = await super().call(action, **payload)
        if action == "StartTransaction":
            number = answer["transactionId"]
            self._transactions[str(number)] = 0
        elif action == "StopTransaction":
            self._transactions.pop(str(payload["transactionId"]), None)
        return answer

    async def booted(self, reason: str = "PowerUp") -> None:
        if self._connection is None:
            await self.connect()
        answer = await self.boot(reason)
        self.check(answer["status"] == "Accepted", "BootNotification", f"answers {answer['status']}")
        for connector in (0, 1, 2):
            await self.connector("Available", connector)

    async def connector(self, status: str, evse: int = 1, **more: object) -> None:
        """See CsmsTest; 0 is the station."""
        about = {"connectorId": evse, "status": status, "errorCode": "NoError", "timestamp": self.now(), **more}
        await self.call("StatusNotification", **about)

    async def knows(self, tag: str, *statuses: str) -> Payload:
        """Present a token, for which the back end has one of these statuses; return idTagInfo. Raises Failed."""
        return self._judged("Authorize", tag, (await self.call("Authorize", idTag=tag))["idTagInfo"], statuses)

    def _judged(self, action: str, tag: str, info: Payload, statuses: tuple[str, ...]) -> Payload:
        self.check(info["status"] in statuses, action, f"answers {tag} with {info['status']}")
        if info["status"] == "Accepted" and "expiryDate" in info:
            self.is_later(info["expiryDate"], action)
        return info

    async def start(self, tag: str, *statuses: str, connector: int = 1, at: str = "", **more: object) -> int:
        """Start a transaction, whose token has one of these statuses; return its id. Raises Failed."""
        request = {"connectorId": connector, "idTag": tag, "meterStart": 1000, "timestamp": at or self.now(), **more}
        answer = await self.call("StartTransaction", **request)
        self._judged("StartTransaction", tag, answer["idTagInfo"], statuses or ("Accepted",))
        return int(answer["transactionId"])

    async def stop(self, transaction: int, reason: str = "Local", meter: int = 1500, **more: object) -> Payload:
        """End a transaction, without a reason if it is empty; return the answer."""
        about = {"transactionId": transaction, "meterStop": meter, "timestamp": self.now(), **more}
        return await self.call("StopTransaction", **about, **({"reason": reason} if reason else {}))

    async def _end(self, transaction: str, seq_no: int) -> None:
        await self.stop(int(transaction), "Other")

    def _usual(self, action: str, payload: Payload) -> Payload | CallError:
        match action:
            case "ChangeConfiguration" if payload["key"] in self._keys:
                self._keys[payload["key"]] = payload["value"]
            case "GetLocalListVersion":
                return {"listVersion": self.list_version}
        return ordinary_answer_16(action, payload, self._keys)


def ordinary_answer_16(action: str, payload: Payload, keys: Mapping[str, str] = KEYS) -> Payload | CallError:
    """Return the answer of an ordinary station of 1.6 with these configuration keys."""
    match action:
        case "GetConfiguration":
            wanted = payload.get("key") or list(keys)
            found = [{"key": each, "readonly": False, "value": keys[each]} for each in wanted if each in keys]
            unknown = [each for each in wanted if each not in keys]
            return {"configurationKey": found} | ({"unknownKey": unknown} if unknown else {})
        case "ChangeConfiguration":
            known = payload["key"] in keys or payload["key"] == "AuthorizationKey"
            return {"status": "Accepted" if known else "NotSupported"}
        case "GetDiagnostics":
            return {"fileName": "diagnostics.log"}
        case "GetLocalListVersion":
            return {"listVersion": 0}
        case "UpdateFirmware":
            return {}
        case _ if action in _STATUS:
            return {"status": _STATUS[action]}
    return CallError("NotImplemented", "the tester does not know this action")
