"""Remote commands of the CSMS: start, stop, unlock (functional block F)."""

from typing import Final

from msgspec.structs import replace

from v2g.ocpp.messages import remote_control as ocpp
from v2g.ocpp.messages.base import Message, StatusInfo
from v2g_station.blocks.authorization.authorization import Authorizer
from v2g_station.blocks.evse import Authorization, Evse, Lock, LockFailure, TokenVerdict, Unlocked
from v2g_station.blocks.smart_charging.smart_charging import ChargingProfiles
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.blocks.web_payment import WebPayments
from v2g_station.kernel.kernel import Deferred, Handler, status_info

UNLOCK_TIMEOUT: Final = 10.0
_LOOK_S: Final = 0.25
"""Interval of looking whether a transaction has ended, whose connector is to be unlocked then."""

_VALID: Final = ("NoAuthorization", "Central")
"""Types of identifiers that the CSMS is not asked about (C02, C05.FR.01)."""


class RemoteControl(FunctionalBlock):
    """Handles remote commands."""

    def __init__(
        self,
        shared: Shared,
        authorizer: Authorizer,
        smart_charging: ChargingProfiles,
        web_payments: WebPayments,
        *,
        managed: bool = False,
        can_start: bool = True,
    ) -> None:
        super().__init__(shared)
        self._managed = managed
        self._can_start = can_start
        """Whether drivers can be authorized other than by their vehicle."""
        self._authorizer = authorizer
        self._unlocking: dict[tuple[int, int], Deferred] = {}
        self._stopped: dict[int, str] = {}
        """EVSE -> the last transaction there that the CSMS has stopped."""
        self._smart_charging, self._web_payments = smart_charging, web_payments
        self.answers: dict[str, Handler] = {
            "RequestStartTransaction": self._start,
            "RequestStopTransaction": self._stop,
            "UnlockConnector": self._unlock,
        }

    # -- start and stop

    def _start(self, request: ocpp.RequestStartTransactionRequest) -> Message:
        """F01, F02."""
        self._web_payments.start_requested(request.evse_id)
        evse, refused = self._startable(request)
        profile = request.charging_profile
        smart = self._k.model.flag("SmartChargingCtrlr.Enabled")
        if refused is None and evse is not None and profile is not None and smart:
            if profile.charging_profile_purpose != "TxProfile" or profile.transaction_id is not None:
                refused = status_info(
                    "InvalidProfile", "a TxProfile without transactionId is expected"
                )  # F01.FR.09, .11
            else:
                refused = self._smart_charging.refuse(profile, evse.number, remote=True)  # F01.FR.26
        if refused is not None or evse is None:
            return ocpp.RequestStartTransactionResponse(status="Rejected", status_info=refused)
        self._smart_charging.take_remote(profile if smart else None, evse.number, request.remote_start_id)
        found = Authorization(
            id_token=request.id_token,
            group=request.group_id_token.id_token if request.group_id_token else None,
            remote_start_id=request.remote_start_id,
        )
        self._k.after("remote.start", 0, lambda: self._begin(evse, found))
        return ocpp.RequestStartTransactionResponse(
            status="Accepted", transaction_id=evse.record.transaction_id if evse.record else None
        )  # F01.FR.13

    def _startable(self, request: ocpp.RequestStartTransactionRequest) -> tuple[Evse | None, StatusInfo | None]:
        """Return the EVSE to start, or the reason for a rejection (F01.FR.20 to .24)."""
        if self._k.registration != "Accepted":
            return None, status_info("CSNotAccepted")  # B02.FR.05
        group = request.group_id_token.id_token if request.group_id_token else None
        if not self._can_start:
            return None, status_info("NotEnabled", "this station authorises by contract certificate")
        chosen = [e for e in self._evses.values() if request.evse_id in (None, e.number)]
        if not chosen:
            return None, status_info("UnknownEvse")
        free = [
            e for e in chosen if self._sessions.is_free(e) and self._authorizer.usable(e, request.id_token, group)[0]
        ]
        plugged = [e for e in free if e.plugged is not None]
        evse = next(iter(plugged or free), None)
        return evse, None if evse is not None else status_info("TxInProgress", "no free EVSE")

    def _begin(self, evse: Evse, found: Authorization) -> None:
        if not self._sessions.is_free(evse):
            return

        def decided(verdict: TokenVerdict) -> None:
            verdict = replace(verdict, group=verdict.group or found.group)
            if not self._authorizer.permits(evse, found.id_token, verdict):
                self._k.note("remote_start_refused", evse_id=evse.number)
                return
            _, reservation = self._authorizer.usable(evse, found.id_token, verdict.group)
            granted = replace(
                found,
                group=verdict.group,
                reservation_id=reservation,
                languages=verdict.languages,
                message=verdict.message,
                energy_transfer=self._authorizer.permitted(verdict.energy_transfer),
                limit=self._web_payments.limit_of(evse.number, found.id_token),
            )
            self._sessions.authorize(evse, granted, "RemoteStart")  # F01.FR.19
            self._smart_charging.give_remote(evse)  # a transaction that has begun without a driver

        if self._k.model.flag("AuthCtrlr.AuthorizeRemoteStart") and found.id_token.type not in _VALID:
            self._authorizer.judge(found.id_token, decided)  # F01.FR.01
        else:
            decided(TokenVerdict(accepted=True))  # F01.FR.02

    def _stop(self, request: ocpp.RequestStopTransactionRequest) -> Message:
        """F03."""
        evse = self._sessions.find(request.transaction_id)
        if self._k.registration != "Accepted" or evse is None:
            info = status_info("CSNotAccepted" if self._k.registration != "Accepted" else "TxNotFound")
            return ocpp.RequestStopTransactionResponse(status="Rejected", status_info=info)
        self._stopped[evse.number] = request.transaction_id
        self._k.after(
            "remote.stop", 0, lambda: self._sessions.end_authorization(evse, "RemoteStop", "Remote")
        )  # F03.FR.02, .03
        return ocpp.RequestStopTransactionResponse(status="Accepted")

    # -- unlock

    def _unlock(self, request: ocpp.UnlockConnectorRequest) -> Message:
        """F05; a transaction that the CSMS has just stopped ends first."""
        answer, evse = self._try_unlock(request), self._evses.get(request.evse_id)
        if evse is None or evse.record is None or not _is_ongoing(answer):
            return answer
        if self._stopped.get(evse.number) != evse.record.transaction_id:
            return answer
        deferred = Deferred()
        self._unlock_after_end(request, deferred, self._k.now + UNLOCK_TIMEOUT, 0.0)
        return deferred

    def _unlock_after_end(
        self, request: ocpp.UnlockConnectorRequest, deferred: Deferred, until: float, wait_s: float
    ) -> None:
        def again() -> None:
            answer = self._try_unlock(request)
            if isinstance(answer, Deferred):
                answer.sinks.append(deferred.resolve)
            elif _is_ongoing(answer) and self._k.now < until:
                self._unlock_after_end(request, deferred, until, _LOOK_S)
            else:
                deferred.resolve(answer)

        self._k.after(f"unlock.end.{request.evse_id}", wait_s, again)

    def _try_unlock(self, request: ocpp.UnlockConnectorRequest) -> Message:
        evse = self._evses.get(request.evse_id)
        connector = evse.connector(request.connector_id) if evse is not None else None
        if evse is None or connector is None:
            return ocpp.UnlockConnectorResponse(status="UnknownConnector")
        if evse.record is not None and (self._managed or evse.authorization is not None):
            return ocpp.UnlockConnectorResponse(status="OngoingAuthorizedTransaction")  # F05.FR.02
        if connector.fixed_cable and not self._managed:
            return ocpp.UnlockConnectorResponse(status="UnlockFailed", status_info=status_info("FixedCable"))
        place = (evse.number, connector.number)
        self._unlocking[place] = deferred = Deferred()
        self._k.do(Lock(evse_id=place[0], connector_id=place[1], locked=False))
        self._k.after(f"unlock.{place}", UNLOCK_TIMEOUT, lambda: self._unlocked(place, fine=False))
        return deferred

    def unlocked(self, fact: Unlocked) -> None:
        """Handle an unlocked connector."""
        evse = self._evses.get(fact.evse_id)
        connector = evse.connector(fact.connector_id) if evse else None
        if connector is not None:
            connector.locked = False
            self._k.put(f"ConnectorPlugRetentionLock#{fact.evse_id}.{fact.connector_id}.Problem", "false")
        self._unlocked((fact.evse_id, fact.connector_id), fine=True)

    def lock_failed(self, fact: LockFailure) -> None:
        """Handle a failure to unlock a connector."""
        self._unlocked((fact.evse_id, fact.connector_id), fine=False)

    def _unlocked(self, place: tuple[int, int], *, fine: bool) -> None:
        deferred = self._unlocking.pop(place, None)
        self._k.cancel(f"unlock.{place}")
        if deferred is not None:
            deferred.resolve(ocpp.UnlockConnectorResponse(status="Unlocked" if fine else "UnlockFailed"))


def _is_ongoing(answer: Message) -> bool:
    return isinstance(answer, ocpp.UnlockConnectorResponse) and answer.status == "OngoingAuthorizedTransaction"
