"""A whole session on real keys: the charger's gate, the vehicle's half, a meter, a journal and the bundle of it."""

import hashlib
import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from msgspec import UNSET

from pki_tools.tree import PkiTree
from v2g import exi
from v2g.asn1.discharge import DecisionReason, PriceSlot
from v2g.energy.discharge_gate import DischargeConfig, DischargeGate, Rejected
from v2g.energy.grid_signal import Tariff
from v2g.energy.limits import discharge_limits
from v2g.energy.settlement import ocmf
from v2g.energy.settlement.authorization import challenge_of
from v2g.energy.settlement.bundle import Chains, write_bundle
from v2g.energy.settlement.checkpoints import Copy
from v2g.energy.settlement.journal import verify_lines
from v2g.energy.settlement.pricing import Direction
from v2g.energy.settlement.records import (
    AuthorizationSigned,
    CheckpointIssued,
    ContractAuthorized,
    MeterReading,
    ServiceChanged,
    SessionStarted,
    TariffSet,
    TermsOffered,
    VehicleDescribed,
    limit_record,
    record_of,
)
from v2g.energy.settlement.session_journal import SessionJournal
from v2g.energy.settlement.signed_meter import sign_meter
from v2g.energy.vehicle import Answered, Checkpointed, VehicleDischarge, Verdict
from v2g.iso15118.d20.messages.certificates import ContractCertificateChain, SubCertificates
from v2g.iso15118.d20.messages.common_messages import Authorization, AuthorizationReq, PnC_AReqAuthorizationMode
from v2g.iso15118.d20.messages.common_types import MessageHeader
from v2g.iso15118.d20.schemas import COMMON_MESSAGES
from v2g.iso15118.engine import signature
from v2g.pki.credentials import Credentials
from v2g.units import QUARTER_MS

SESSION_ID = bytes.fromhex("0011223344556677")
EVSE_ID = "DE*V2G*E0001"


def authorization_of(contract: Credentials, session_id: bytes, challenge: bytes) -> bytes:
    """Return the AuthorizationReq of ISO 15118-20 (EXI) that a contract's vehicle signs."""
    leaf, *subs = contract.chain
    mode = PnC_AReqAuthorizationMode(
        id="id1",
        gen_challenge=challenge,
        contract_certificate_chain=ContractCertificateChain(
            certificate=leaf, sub_certificates=SubCertificates(certificate=tuple(subs))
        ),
    )
    signed = signature.sign(mode, contract.key, schema=COMMON_MESSAGES)
    request = AuthorizationReq(
        header=MessageHeader(session_id=session_id, time_stamp=1, signature=signed),
        selected_authorization_service=Authorization.PnC,
        pnc_a_req_authorization_mode=mode,
    )
    return exi.encode(request)


class Session:
    """Charges, then discharges, on a clock that only this object moves."""

    station_id = "CS-V2G-0001"
    session_id = SESSION_ID
    signs = False
    """Whether it is of version 3, in which the vehicle signs for the session itself."""
    leaf, emaid, evcc_id = "contract", "DEV2GC00000001", "WMIV2GENGINE0000001X"

    def __init__(self, pki: PkiTree, start_ms: int, *, seed: int = 7, checkpoints: bool = False) -> None:
        self.pki = pki
        self.now = start_ms
        self.start_ms = start_ms
        self.accepts = True
        numbers = random.Random(seed)
        self.entropy: Callable[[int], bytes] = numbers.randbytes
        self.charger, self.contract = pki.credentials("secc"), pki.credentials(self.leaf)
        self.meter = pki.credentials("meter")
        self.import_mwh, self.export_mwh = 1_000_000_000, 500_000_000
        self.begin = (self.import_mwh, self.export_mwh)
        self.ledger = SessionJournal()
        self.lines: list[bytes] = []
        self.tariff = Tariff(
            currency="EUR",
            slots=tuple(
                PriceSlot(start_ms // QUARTER_MS * QUARTER_MS + i * QUARTER_MS, QUARTER_MS, 300_000 + i, 180_000 + i)
                for i in range(12)
            ),
            version=3,
            source="operator",
        )
        self.copies: list[Copy] = []
        self._select(checkpoints=checkpoints)

    def _select(self, *, checkpoints: bool) -> None:
        """Both ends of signed discharge begin anew."""
        self.gate = DischargeGate(
            session_id=self.session_id,
            evse_id=EVSE_ID,
            key=self.charger.key,
            certificate=self.charger.leaf,
            signer_certificate=self.contract.leaf,
            entropy=self.entropy,
            config=DischargeConfig(),
            checkpoints=checkpoints,
        )
        self.vehicle = VehicleDischarge(
            session_id=self.session_id,
            key=self.contract.key,
            certificate=self.contract.leaf,
            charger_certificate=self.charger.leaf,
            policy=lambda offer, _: Verdict(
                accepted=self.accepts,
                reason=DecisionReason.ACCEPTED if self.accepts else DecisionReason.OWNER_REFUSED,
                minimum_soc=30,
                max_discharge_w=min(offer.limits.max_discharge_w, 10_000),
            ),
            entropy=self.entropy,
            energy=(lambda: (self.import_mwh - self.begin[0], self.export_mwh - self.begin[1]))
            if checkpoints
            else None,
        )

    def reselect(self, *, checkpoints: bool) -> None:
        """Select services again, in version 2 with `checkpoints`."""
        self.record(ServiceChanged(service="DC_BPT", discharge="signed", reason="renegotiated"))
        self._select(checkpoints=checkpoints)
        self.set_limit(11_000)

    def checkpoint(self, *, final: bool = False) -> None:
        """Issue a checkpoint of the journal, which the vehicle stores and countersigns."""
        number, payload = self.gate.checkpoint(self.ledger.head, self.begin, self.now, final=final)
        self.record(CheckpointIssued(number=number, payload=payload))
        outcome = self.vehicle.on_message(payload, self.now, ended=True if final else None)
        assert isinstance(outcome, Checkpointed)
        self.vehicle.stored(outcome)
        self.copies.append(
            Copy(session_id=self.session_id.hex(), number=number, checkpoint=payload, receipt=outcome.reply)
        )
        self.record(record_of(self.gate.on_message(outcome.reply, self.now)))

    @property
    def journal(self) -> bytes:
        return b"".join(self.lines)

    def record(self, record: object) -> None:
        self.lines += self.ledger.record(record, self.now)  # type: ignore[arg-type]

    def start(self, discharge: str = "signed") -> None:
        started = SessionStarted(
            station_id=self.station_id,
            evse_id=EVSE_ID,
            session_id=self.session_id.hex(),
            meter_serial="METER-0001",
            meter_certificate=hashlib.sha256(self.meter.leaf).hexdigest(),
            charger_certificate=hashlib.sha256(self.charger.leaf).hexdigest(),
            import_mwh=self.import_mwh,
            export_mwh=self.export_mwh,
            discharge="none" if self.signs else discharge,  # type: ignore[arg-type]
            bundle=3 if self.signs else 2,
            entropy=self.entropy(16).hex() if self.signs else UNSET,
        )
        self.record(started)
        fingerprint = hashlib.sha256(self.contract.leaf).hexdigest()
        self.record(ContractAuthorized(emaid=self.emaid, contract_certificate=fingerprint, authorized_by="csms"))
        if self.signs:
            challenge = challenge_of(started, self.now)
            self.record(AuthorizationSigned(payload=authorization_of(self.contract, self.session_id, challenge)))
            self.record(ServiceChanged(service="DC_BPT", discharge=discharge, reason="selected"))  # type: ignore[arg-type]
        self.record(VehicleDescribed(evcc_id=self.evcc_id, battery_capacity_wh=60_000))
        self.record(TariffSet(tariff=self.tariff))
        self.set_limit(11_000)

    def set_limit(self, operator_w: int) -> None:
        limits = discharge_limits(ev_w=12_000, evse_w=22_000, site_w=30_000, operator_w=operator_w, source="operator")
        self.gate.set_limits(limits)
        self.record(limit_record(limits))

    def offer(self) -> None:
        payload = self.gate.offer(self.tariff, self.now)
        self.record(TermsOffered(payload=payload))
        answered = self.vehicle.on_message(payload, self.now)
        assert isinstance(answered, Answered)
        self.record(record_of(self.gate.on_message(answered.reply, self.now)))

    def flow(self, power_w: int, span_ms: int, step_ms: int = 5_000) -> None:
        """Move `power_w` (positive into the vehicle) for `span_ms`, reading the meter each step; whole steps."""
        for _ in range(span_ms // step_ms):
            if power_w < 0 and self.vehicle.command_due(-power_w, self.now):
                self.send(self.vehicle.command(-power_w, self.now))
            allowed = min(-power_w, self.gate.allowed_w(self.now)) if power_w < 0 else 0
            self.import_mwh += max(0, power_w) * step_ms // 3600
            self.export_mwh += allowed * step_ms // 3600
            self.now += step_ms
            self.read(power_w if power_w > 0 else -allowed)

    def read(self, power_w: int = 0, reason: str = "periodic") -> None:
        registers = {"import_mwh": self.import_mwh, "export_mwh": self.export_mwh}
        self.record(MeterReading(**registers, power_w=power_w, soc=60, reason=reason))

    def send(self, payload: bytes) -> None:
        outcome = self.gate.on_message(payload, self.now)
        self.record(record_of(outcome))
        if not isinstance(outcome, Rejected) or outcome.reply is not None:
            self.vehicle.on_message(outcome.reply, self.now)  # type: ignore[union-attr,arg-type]

    def end(self) -> None:
        self.gate.stop()
        self.lines += self.ledger.end("vehicle", self.now, import_mwh=self.import_mwh, export_mwh=self.export_mwh)

    def signed(self) -> dict[Direction, str]:
        """What the meter signs."""
        return sign_meter(
            verify_lines(self.journal),
            identity=ocmf.MeterIdentity(meter_serial="METER-0001", gateway="V2G-ENGINE"),
            assignment=ocmf.Assignment(emaid=self.emaid, evse_id=EVSE_ID),
            pagination=1,
            key=self.meter.key,
        )

    def chains(self) -> Chains:
        return Chains(
            charger=self.charger.chain,
            contract=self.contract.chain,
            meter=self.meter.chain,
            roots=self.pki.anchors("v2g", "mo"),
        )

    def bundle(self) -> dict[str, bytes]:
        signed = self.signed()
        return write_bundle(
            self.journal,
            ocmf_import=signed["import"],
            ocmf_export=signed["export"],
            chains=self.chains(),
            key=self.charger.key,
            created_ms=self.now,
        )


@pytest.fixture(scope="session")
def start_ms() -> int:
    """A minute and a bit past a quarter hour, at a time at which the certificates are valid."""
    now = int(datetime.now(UTC).timestamp() * 1000)
    return now // QUARTER_MS * QUARTER_MS + 67_890


@pytest.fixture
def session(pki: PkiTree, start_ms: int) -> Session:
    """A session that has not begun."""
    return Session(pki, start_ms)


def run_whole_session(session: Session, minutes: int = 20) -> Session:
    """Charge for some minutes, then discharge, with a forged, a replayed and an expired command halfway."""
    session.start()
    session.flow(11_000, minutes * 60_000)
    session.offer()
    session.flow(-9_000, minutes * 30_000)
    replayed = session.vehicle.command(9_000, session.now)
    session.send(replayed)
    for broken in (replayed, b"\x30\x00", replayed[:-1] + bytes([replayed[-1] ^ 1])):
        session.record(record_of(session.gate.on_message(broken, session.now)))
    session.set_limit(5_000)
    session.flow(-9_000, minutes * 30_000)
    session.end()
    return session


@pytest.fixture(scope="session")
def finished(pki: PkiTree, start_ms: int) -> Session:
    """A session that has ended."""
    return run_whole_session(Session(pki, start_ms))
