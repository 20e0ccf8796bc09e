"""What a vehicle sends over ISO 15118: needs, plans, contract requests, its end (E15, K15 to K17, M01, M02)."""

from functools import partial
from typing import Final, Literal

from v2g.energy.needs import EvNeeds, Service
from v2g.iso15118.engine.session import Fact
from v2g.ocpp.messages import ev_charging as ocpp
from v2g.ocpp.messages.certificates import Get15118EVCertificateResponse
from v2g.ocpp.messages.charging_profiles import ChargingSchedule
from v2g.ocpp.times import format_time
from v2g.ocpp.versions import without_21
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest, contract_answer
from v2g_station.blocks.smart_charging.ev_needs import lines_of, needs_request
from v2g_station.blocks.smart_charging.profile_times import InstalledProfile
from v2g_station.blocks.smart_charging.smart_charging import ChargingProfiles
from v2g_station.blocks.transactions.sessions import FunctionalBlock, Shared
from v2g_station.kernel.kernel import Answer, StationCommand

SCHEDULE_PATIENCE: Final = 60.0
"""Seconds to wait for a vehicle's schedule (K15.FR.08)."""

Found = Literal["profile", "default"]


class NeedsReported(Fact, frozen=True, kw_only=True):
    """A vehicle's charging needs."""

    evse_id: int
    needs: EvNeeds


class PlanReported(Fact, frozen=True, kw_only=True):
    """A vehicle's power plan; `schedule` starts now. `selected_id` is the id of the chosen charging schedule, if it
    belongs to a charging profile."""

    evse_id: int
    schedule: ChargingSchedule
    selected_id: int | None = None
    dynamic: bool = False
    """Whether the vehicle will follow the CSMS's schedule instead."""


class VehicleKnown(Fact, frozen=True, kw_only=True):
    """A vehicle's identifier (EVCCID) and the negotiated protocol; empty when it has left."""

    evse_id: int
    evccid: str
    protocol: str = ""


class ContractWanted(Fact, frozen=True, kw_only=True):
    """A vehicle requests a contract, or a newer one."""

    evse_id: int
    request: ContractRequest


class VehicleEnds(Fact, frozen=True, kw_only=True):
    """A vehicle has ended its session (SessionStopReq, Terminate)."""

    evse_id: int


class OfferSchedules(StationCommand, frozen=True, kw_only=True):
    """Offer the vehicle what charging profiles allow now: from a profile made for it, or the default."""

    evse_id: int
    found: Found


class Renegotiate(StationCommand, frozen=True, kw_only=True):
    """Let the vehicle renegotiate schedules (K16.FR.02)."""

    evse_id: int


class RenegotiateServices(StationCommand, frozen=True, kw_only=True):
    """The CSMS rejects the energy transfer mode: let the vehicle select another service (Q01.FR.05)."""

    evse_id: int
    refused: Service


class GiveContract(StationCommand, frozen=True, kw_only=True):
    """Pass the CSMS's answer on to the vehicle."""

    evse_id: int
    outcome: ContractAnswer


class HighLevel(FunctionalBlock):
    """The CSMS's part in the communication with vehicles."""

    def __init__(self, shared: Shared, smart_charging: ChargingProfiles) -> None:
        super().__init__(shared)
        self._smart = smart_charging
        self._waiting: set[int] = set()
        self._needs: dict[int, EvNeeds] = {}
        """Needs of vehicles that can renegotiate, by EVSE."""
        self._renegotiating: set[int] = set()
        """EVSEs whose vehicle was asked to renegotiate and has not done so yet."""
        smart_charging.on_installed(self.profile_installed)
        self._sessions.on_ended(lambda evse, _: self._forget(evse.number))

    def _forget(self, evse_id: int) -> None:
        if self._evses[evse_id].record is not None:
            return  # the next vehicle's session has begun already
        self._waiting.discard(evse_id)
        self._needs.pop(evse_id, None)
        self._evses[evse_id].lines = (1, 1)
        self._renegotiating.discard(evse_id)
        self._k.cancel(f"needs.{evse_id}")
        self.vehicle(VehicleKnown(evse_id=evse_id, evccid=""))

    # -- schedules

    def vehicle(self, fact: VehicleKnown) -> None:
        """Q01.FR.36."""
        evse = self._evses[fact.evse_id]
        evse.evccid = fact.evccid
        self._k.put(f"ConnectedEV#{fact.evse_id}.VehicleID", fact.evccid)
        self._k.put(f"ConnectedEV#{fact.evse_id}.ProtocolAgreed", fact.protocol)

    def needs(self, fact: NeedsReported) -> None:
        """K15.FR.01, K17.FR.01, K18.FR.01, K19.FR.01, K20.FR.01."""
        evse_id, before = fact.evse_id, self._needs.get(fact.evse_id)
        self._needs[evse_id] = fact.needs
        self._evses[evse_id].lines = lines_of(fact.needs)
        self._waiting.add(evse_id)
        if evse_id in self._renegotiating:
            self._renegotiating.discard(evse_id)
            if before is not None and fact.needs.go_on_from(before):  # K16.FR.09: the CSMS knows and has decided
                self._offer(evse_id, "profile")
                return
        request = needs_request(evse_id, fact.needs, self._k.utc_ms, self._k.version)
        if not self._k.online:
            if self._k.version == "2.1":  # K17.FR.17, K18.FR.21, K20.FR.05: with its timestamp
                self._outbox.add(request)
            self._offer(evse_id, "default")  # K15.FR.15
            return

        def answered(answer: Answer) -> None:
            if self._needs.get(evse_id) is not fact.needs:
                return  # that vehicle has left, or has other needs by now
            status = answer.status if isinstance(answer, ocpp.NotifyEVChargingNeedsResponse) else "NoChargingProfile"
            if status == "Rejected" and self._k.version == "2.1" and not fact.needs.older:
                # the energy transfer mode is rejected (Q01.FR.05, .06, K18.FR.23, K19.FR.16).
                self._waiting.discard(evse_id)
                if self._k.model.flag("ISO15118Ctrlr.ServiceRenegotiationSupport"):
                    self._k.do(RenegotiateServices(evse_id=evse_id, refused=fact.needs.service))
                else:
                    self._sessions.end(self._evses[evse_id], "AbnormalCondition", reason="ReqEnergyTransferRejected")
            elif status in ("Rejected", "NoChargingProfile"):  # K15.FR.04, K18.FR.04
                self._offer(evse_id, "default")
            elif evse_id in self._waiting:
                self._k.after(f"needs.{evse_id}", SCHEDULE_PATIENCE, partial(self._offer, evse_id, "default"))

        self._k.call(request, answered)

    def profile_installed(self, item: InstalledProfile) -> None:
        """Handle a profile for a vehicle's transaction: it was waited for, or requires a renegotiation (K15, K16).

        In dynamic mode nothing is negotiated: the vehicle gets new limits in the charging loop (Q03).
        """
        needs = self._needs.get(item.evse_id)
        if item.profile.charging_profile_purpose != "TxProfile" or needs is None:
            return
        if item.evse_id in self._waiting:
            self._offer(item.evse_id, "profile")
            return
        if needs.control_mode == "scheduled":
            self._renegotiating.add(item.evse_id)
            self._k.do(Renegotiate(evse_id=item.evse_id))
        evse = self._evses[item.evse_id]
        if evse.power == "Charging" and item.profile.charging_profile_kind != "Dynamic":
            self._sessions.update(evse, "ChargingRateChanged")

    def _offer(self, evse_id: int, found: Found) -> None:
        if evse_id in self._waiting:
            self._waiting.discard(evse_id)
            self._k.cancel(f"needs.{evse_id}")
            self._k.do(OfferSchedules(evse_id=evse_id, found=found))

    def plan(self, fact: PlanReported) -> None:
        """K15.FR.10, K16.FR.14, K18.FR.10: the CSMS answers a plan that it rejects with another profile."""
        schedule, selected = fact.schedule, fact.selected_id
        needs = self._needs.get(fact.evse_id)
        leader = self._smart.leading(self._evses[fact.evse_id])
        offered = None if leader is None else leader.profile.charging_schedule[0]
        if fact.dynamic or (needs is not None and needs.control_mode == "dynamic"):
            if offered is None:
                return
            schedule, selected = offered, offered.id  # K19.FR.10: the vehicle will be made to follow
        elif selected is None and offered is not None:
            selected = offered.id
        if self._k.version == "2.0.1":
            schedule = without_21(schedule)
        request = ocpp.NotifyEVChargingScheduleRequest(
            time_base=format_time(self._k.utc_ms // 1000 * 1000),
            charging_schedule=schedule,
            evse_id=fact.evse_id,
            selected_charging_schedule_id=selected if self._k.version == "2.1" else None,
        )

        def answered(answer: Answer) -> None:
            if isinstance(answer, ocpp.NotifyEVChargingScheduleResponse) and answer.status == "Rejected":
                self._k.note("plan_refused", evse_id=fact.evse_id)

        self._k.call(request, answered)

    # -- the end

    def ends(self, fact: VehicleEnds) -> None:
        """E15."""
        evse = self._evses[fact.evse_id]
        if evse.record is not None:
            evse.power = "EVConnected"
            self._sessions.end_authorization(evse, "StopAuthorized", "StoppedByEV")

    # -- contracts

    def contract(self, fact: ContractWanted) -> None:
        """M01, M02."""

        def give(outcome: ContractAnswer) -> None:
            self._k.do(GiveContract(evse_id=fact.evse_id, outcome=outcome))

        if not self._k.model.flag("ISO15118Ctrlr.ContractCertificateInstallationEnabled"):
            give(ContractAnswer(status="failed"))
            return

        def answered(answer: Answer) -> None:
            if isinstance(answer, Get15118EVCertificateResponse):
                give(contract_answer(answer))
            else:
                give(ContractAnswer(status="failed" if self._k.online else "unreachable"))

        self._k.call(fact.request.message(self._k.version), answered)

    def take(self, fact: Fact) -> bool:
        """Handle a fact if it comes from a vehicle's communication; return whether it was."""
        if getattr(fact, "evse_id", 1) not in self._evses:
            return False
        match fact:
            case VehicleKnown():
                self.vehicle(fact)
            case NeedsReported():
                self.needs(fact)
            case PlanReported():
                self.plan(fact)
            case ContractWanted():
                self.contract(fact)
            case VehicleEnds():
                self.ends(fact)
            case _:
                return False
        return True
