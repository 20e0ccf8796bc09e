"""The charging-station side of a SECC: what the charger tells its CSMS, and what the CSMS wants of the charger.

`Station` is the interface for the rest of the program. Telling about transactions returns at once: the message is on
disk when the call returns and is delivered once, in order, whenever the CSMS can be reached.
"""

import asyncio
import itertools
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from secc.station_desk import StationDesk
from secc.station_link import StationLink
from secc.station_state import CONNECTOR, Hooks, StationConfig, StationState
from v2g.errors import StoreError, V2GError
from v2g.net.clock import Clock
from v2g.net.websocket import client_context
from v2g.observe import Observe
from v2g.ocpp import transactions
from v2g.ocpp.messages.authorization import AuthorizeResponse
from v2g.ocpp.messages.availability import ConnectorStatus
from v2g.ocpp.messages.base import OCSPRequestData, OperationMode
from v2g.ocpp.messages.ev_charging import NotifyEVChargingNeedsResponse
from v2g.ocpp.messages.transactions import ChargingState, Reason, TriggerReason
from v2g.ocpp.station import AuthorizeOutcome, EvNeeds, authorize_outcome, authorize_request, needs_request
from v2g.ocpp.transactions import MeterSample, SignedReading, Step, TransactionRecord

__all__ = ["AuthorizeOutcome", "EvNeeds", "Hooks", "MeterSample", "SignedReading", "Station", "StationConfig"]

_log = logging.getLogger(__name__)


class Station:
    """One charging station. `run` must be running for anything to be delivered; everything else may come before."""

    def __init__(
        self,
        config: StationConfig,
        *,
        clock: Clock,
        entropy: Callable[[int], bytes],
        observe: Callable[[Observe], None],
        hooks: Hooks,
        boot_id: str = "",
        meter_public_key: bytes = b"",
    ) -> None:
        """Open the store. `boot_id` names the machine's current start (Linux: /proc/sys/kernel/random/boot_id).

        Raises StoreError, and KeyAccessError for TLS files that cannot be used.
        """
        self._clock = clock
        self._entropy = entropy
        self._observe = observe
        self._state = StationState(config, clock=clock, boot_id=boot_id, meter_public_key=meter_public_key)
        self._link = StationLink(
            self._state.link_settings(),
            context=client_context(config.tls) if config.tls else None,
            store=self._state.store,
            clock=clock,
            entropy=entropy,
            observe=observe,
            boot=self._state.boot,
            handle=lambda action, request: self._desk.answer(request),
            settings=self._state.settings,
            on_event_answered=lambda event, answer: self._desk.event_answered(event, answer),
        )
        self._desk = StationDesk(
            self._state, self._link, hooks=hooks, clock=clock, observe=observe, update=self.updated
        )
        for evse_id in self._state.status:
            self._desk.show(evse_id)

    # -- life

    @property
    def online(self) -> asyncio.Event:
        """Set while the CSMS is connected and has accepted this station."""
        return self._link.online

    async def run(self) -> None:
        """Stay connected to the CSMS until cancelled. Raises StoreError when the disk fails."""
        self._desk.transactions_changed()
        try:
            await self._link.run()
        finally:
            self._desk.stop()

    def close(self) -> None:
        """Close the store after `run` has ended: an orderly end."""
        self._state.close()

    def recover(self, samples: Callable[[TransactionRecord], MeterSample | None] = lambda _: None) -> list[str]:
        """End, once, each transaction that was open when the program last stopped; return their references.

        `samples` gives what the meter shows now; without it the last sample stands. The reason is PowerLoss, or
        Reboot when only the program was restarted.
        """
        reason: Reason = "Reboot" if self._state.same_boot else "PowerLoss"
        references = list(self._state.records)
        for record in list(self._state.records.values()):
            self.ended(
                record.reference,
                trigger="AbnormalCondition",
                reason=reason,
                charging_state="EVConnected",
                sample=samples(record),
            )
            self._note("transaction_recovered", transaction_id=record.transaction_id, reason=reason)
        return references

    async def drain(self, timeout: float) -> bool:
        """Wait until nothing is left to deliver, at most `timeout` s; return whether that came true."""
        try:
            async with asyncio.timeout(timeout):
                while self._state.store.waiting():
                    await self._link.idle.wait()
        except TimeoutError:
            return False
        return True

    # -- transactions

    def started(
        self,
        reference: str,
        emaid: str,
        *,
        evse_id: int = 1,
        trigger: TriggerReason = "Authorized",
        sample: MeterSample | None = None,
        id_token_type: str | None = None,
        remote_start_id: int | None = None,
        charging_state: ChargingState = "EVConnected",
    ) -> str:
        """Open a transaction and return its id. `reference` is the caller's name for it, unique among open ones.

        `id_token_type` is eMAID unless given; an empty `emaid` means that nobody identified himself.
        Raises StoreError, also for a reference in use.
        """
        if reference in self._state.records:
            raise StoreError(f"transaction {reference} is open already")
        now = self._clock.utc_ms()
        record = TransactionRecord(
            transaction_id=_uuid(self._entropy(16)),
            reference=reference,
            evse_id=evse_id,
            connector_id=CONNECTOR,
            started_ms=now,
            id_token=emaid,
            id_token_type=(id_token_type or "eMAID") if emaid else "NoAuthorization",
            charging_state=charging_state,
            remote_start_id=remote_start_id,
        )
        step = transactions.start(record, now, trigger=trigger, sample=sample, offline=not self.online.is_set())
        self._commit(step)
        self._desk.transactions_changed()
        return record.transaction_id

    def updated(
        self,
        reference: str,
        *,
        trigger: TriggerReason,
        charging_state: ChargingState | None = None,
        operation_mode: OperationMode | None = None,
        sample: MeterSample | None = None,
    ) -> None:
        """Report progress. KeyError for a reference that is not open."""
        step = transactions.update(
            self._state.records[reference],
            self._clock.utc_ms(),
            trigger=trigger,
            charging_state=charging_state,
            operation_mode=operation_mode,
            sample=sample,
            offline=not self.online.is_set(),
        )
        self._commit(step)

    def ended(
        self,
        reference: str,
        *,
        trigger: TriggerReason,
        reason: Reason,
        charging_state: ChargingState = "EVConnected",
        begin: MeterSample | None = None,
        sample: MeterSample | None = None,
    ) -> None:
        """Close a transaction. `sample` is the last reading; KeyError for a reference that is not open."""
        record = self._state.records[reference]
        step = transactions.end(
            record,
            self._clock.utc_ms(),
            trigger=trigger,
            reason=reason,
            charging_state=charging_state,
            begin=begin,
            sample=sample,
            offline=not self.online.is_set(),
        )
        self._commit(step)
        kept = tuple(p for p in self._state.profiles if p.profile.transaction_id != record.transaction_id)
        if kept != self._state.profiles:
            self._state.keep_profiles(kept)
        self._desk.transactions_changed()
        self._desk.show(record.evse_id)

    def journal(self, session_id: str, line: str) -> None:
        """Queue a line of the settlement journal for the CSMS; it is on disk when this returns."""
        self._state.store.add_line(session_id, line)
        self._link.wake()

    def restate_journal(self, session_id: str, lines: Iterable[str]) -> None:
        """Queue a whole journal, after a restart: nobody knows which lines were queued before the kill.

        The CSMS takes each line once, however often it comes.
        """
        self._state.store.replace_lines(session_id, lines)
        self._link.wake()

    def transaction_id(self, reference: str) -> str | None:
        """Return the OCPP id of an open transaction."""
        record = self._state.records.get(reference)
        return record.transaction_id if record else None

    # -- questions and notices

    async def authorize(self, emaid: str, chain_der: Sequence[bytes]) -> AuthorizeOutcome:
        """Ask whether a contract may charge; `chain_der` is leaf first, DER (C07).

        Never raises for what the CSMS or the network does: without an answer in time the outcome is `unreachable`,
        or `accepted` where the configuration accepts contracts offline.
        """
        unreachable = AuthorizeOutcome(decision="accepted" if self._state.config.accept_offline else "unreachable")
        if not self.online.is_set():
            return unreachable
        pem, hashes = _describe_chain(chain_der)
        request = authorize_request(emaid, pem, hashes, self._link.version)
        try:
            answer = await self._link.call(request, AuthorizeResponse, timeout=self._state.config.authorize_timeout)
        except V2GError as error:
            self._note("authorize_failed", reason=str(error)[:200])
            return unreachable
        outcome = authorize_outcome(answer)
        self._note("authorized", decision=outcome.decision, status=outcome.status)
        return outcome

    async def charging_needs(self, needs: EvNeeds, *, evse_id: int = 1) -> str:
        """Tell what the vehicle needs (K15); return the CSMS's status, "" when it could not be asked."""
        if not self.online.is_set():
            return ""
        request = needs_request(evse_id, needs, self._clock.utc_ms(), self._link.version)
        try:
            answer = await self._link.call(request, NotifyEVChargingNeedsResponse)
        except V2GError as error:
            self._note("charging_needs_failed", reason=str(error)[:200])
            return ""
        return answer.status

    def status(self, evse_id: int, status: ConnectorStatus) -> None:
        """Tell the state of an EVSE's connector; Unavailable wins while the CSMS has taken it out of service."""
        self._state.status[evse_id] = status
        self._desk.show(evse_id)

    def _commit(self, step: Step) -> None:
        self._state.commit(step)
        self._link.wake()

    def _note(self, name: str, **data: Any) -> None:
        self._observe(Observe("ocpp", name, data))


def _describe_chain(chain_der: Sequence[bytes]) -> tuple[str, tuple[OCSPRequestData, ...]]:
    """Return a chain as PEM, and what an OCSP request about each certificate needs whose issuer is in it."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from v2g.pki.ocsp import ocsp_request_data

    try:
        chain = [x509.load_der_x509_certificate(der) for der in chain_der]
        pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain).decode()
        found = [ocsp_request_data(one, issuer) for one, issuer in itertools.pairwise(chain)]
    except (ValueError, V2GError) as error:
        _log.warning("contract chain: %s", error)
        return "", ()
    return pem, tuple(OCSPRequestData(**msgspec.structs.asdict(data)) for data in found)


def _uuid(random: bytes) -> str:
    """Return 16 random bytes as a version 4 UUID, 36 characters (E01.FR.08)."""
    return str(uuid.UUID(bytes=random, version=4))
