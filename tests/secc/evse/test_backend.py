"""The core's wishes of a back end, carried out by a station or without one."""

import asyncio
from typing import Any, Final

import pytest
from msgspec.structs import replace

from secc.evse.backend import CONNECTION_S, NoBackend, StationBackend
from secc.hardware.meter import SimulatedMeter
from secc.session import ports
from secc.session.config import EnergyService
from secc.session.journal import JournalStatus
from v2g.energy.needs import EvNeeds
from v2g.io.runtime.clock import Clock
from v2g.ocpp.messages.authorization import IdToken
from v2g.ocpp.messages.transactions import TriggerReason
from v2g_station.blocks.authorization.contracts import AuthorizationStatus, AuthorizeOutcome
from v2g_station.blocks.evse import PowerLimited
from v2g_station.blocks.transaction_records import SignedRegister
from v2g_station.blocks.transactions.managed import LIMITS, RemoteStartExpired, RemoteStartRequested

NEEDS = EvNeeds(
    service="DC_BPT", control_mode="dynamic", departure_ms=1, max_charge_w=50_000, max_discharge_w=10_000,
    max_current_ma=125_000, max_voltage_mv=500_000, soc=50, target_soc=80, target_energy_wh=1, max_energy_wh=2,
    min_energy_wh=-3,
)  # fmt: skip


START: Final = RemoteStartRequested(evse_id=1, remote_start_id=1, id_token=IdToken(id_token="T", type="ISO14443"))


class Recorder:
    """Stands where the station stands, and writes down what it is told."""

    def __init__(self, decision: AuthorizationStatus = AuthorizationStatus.ACCEPTED, *modes: str) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._decision, self._modes = decision, modes

    saving = object()

    @property
    def requests(self) -> "Recorder":
        """What is asked of the CSMS is written down here, too."""
        return self

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> None:
            self.calls.append((name, arguments, named))

        return call

    async def authorize(
        self, emaid: str, chain: tuple[bytes, ...], *, evse_id: int, known_root: bool
    ) -> AuthorizeOutcome:
        self.calls.append(("authorize", (emaid, chain), {"evse_id": evse_id, "known_root": known_root}))
        return AuthorizeOutcome(decision=self._decision, energy_transfer=self._modes)

    async def charging_needs(self, needs: EvNeeds, *, evse_id: int) -> str:
        self.calls.append(("charging_needs", (needs,), {}))
        return "Accepted"


def station_backend(recorder: Recorder, clock: Clock | None = None) -> StationBackend:
    meter = SimulatedMeter("M", now_ms=Clock().utc_ms)
    meter.flow(0, 400_000, 100_000)
    signed = (SignedRegister(register="import", data="b2NtZg=="),)
    return StationBackend(recorder, 1, meter, clock or Clock(), lambda _session: signed)  # type: ignore[arg-type]


@pytest.mark.parametrize("status", list(AuthorizationStatus))
async def test_every_answer_of_the_back_end_reaches_the_core(status: AuthorizationStatus) -> None:
    backend = station_backend(Recorder(status))
    asked = backend.execute(ports.AuthorizeContract(attempt=3, emaid="E", chain=(b"c",)))
    assert asked is not None
    assert await asked == ports.AuthorizationDecided(3, status)


async def test_the_energy_services_that_an_authorization_allows_reach_the_core() -> None:
    """Q01.FR.01; without a list all are (Q01.FR.08)."""
    backend = station_backend(Recorder(AuthorizationStatus.ACCEPTED, "DC", "AC_three_phase"))
    asked = backend.execute(ports.AuthorizeContract(attempt=1, emaid="E", chain=(b"c",)))
    assert asked is not None
    decided = await asked
    assert isinstance(decided, ports.AuthorizationDecided)
    assert decided.services == {EnergyService.AC, EnergyService.DC, EnergyService.MCS}
    asked = backend.execute(ports.AuthorizeExternally(attempt=2))
    assert asked is not None
    backend.execute(replace(START, energy_transfer=("DC",)))
    services = frozenset({int(EnergyService.DC), int(EnergyService.MCS)})
    assert await asked == ports.AuthorizationDecided(2, AuthorizationStatus.ACCEPTED, services)


async def test_a_transaction_is_reported_with_meter_values_and_at_its_end_with_signed_ones() -> None:
    recorder = Recorder()
    backend = station_backend(recorder)
    for command in (
        ports.TransactionStarted("s", "E"),
        ports.TransactionUpdated("s", "ChargingStateChanged", "Charging", 9_000, 55),
        ports.TransactionEnded("s", "vehicle", "StoppedByEV", 60),
    ):
        assert backend.execute(command) is recorder.saving, "nothing follows before it is on the disk"
    started, updated, limited, ended = recorder.calls
    assert limited == ("fact", (PowerLimited(evse_id=1),), {}), "no session, no limit"
    assert started[0:2] == ("started", ("s", "E"))
    assert started[2]["sample"].import_mwh > 0
    assert (updated[2]["sample"].power_w, updated[2]["sample"].soc) == (9_000, 55)
    assert (ended[2]["trigger"], ended[2]["reason"]) == ("StopAuthorized", "StoppedByEV")
    assert ended[2]["sample"].signed[0].register == "import"


def test_a_vehicle_that_ends_by_its_state_alone_has_sent_no_stop() -> None:
    """E06.FR.07: StopAuthorized is for SessionStopReq (E15.FR.04)."""
    recorder = Recorder()
    station_backend(recorder).execute(ports.TransactionEnded("s", "vehicle_not_ready", "StoppedByEV", 60))
    _, ended = recorder.calls
    assert (ended[2]["trigger"], ended[2]["reason"]) == ("ChargingStateChanged", "StoppedByEV")


@pytest.mark.parametrize(("trigger", "reason"), [
    ("CostLimitReached", "LocalOutOfCredit"), ("EnergyLimitReached", "EnergyLimitReached"),
    ("TimeLimitReached", "TimeLimitReached"), ("SoCLimitReached", "SOCLimitReached"),
])  # fmt: skip
def test_a_session_that_a_limit_ends_is_no_failure(trigger: TriggerReason, reason: str) -> None:
    """E16.FR.06. In both versions of OCPP `Other` would count as failed."""
    journal, recorder = JournalStatus(), Recorder()
    journal.watch(ports.TransactionStarted("51", "E"))
    (ended,) = journal.close(b"Q", LIMITS[trigger], 60)
    station_backend(recorder).execute(ended)
    _, told = recorder.calls
    assert (told[2]["trigger"], told[2]["reason"]) == (trigger, reason)


async def test_needs_are_passed_on_as_they_are() -> None:
    recorder = Recorder()
    told = station_backend(recorder).execute(ports.ReportChargingNeeds(NEEDS))
    assert told is not None
    await told
    assert recorder.calls[0][1] == (NEEDS,)


async def test_external_identification_waits_for_the_back_ends_start() -> None:
    backend = station_backend(Recorder())
    asked = backend.execute(ports.AuthorizeExternally(attempt=1))
    assert asked is not None
    waiting = asyncio.ensure_future(asked)
    await asyncio.sleep(0)
    assert not waiting.done()
    backend.execute(START)
    assert await waiting == ports.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED)


class Hands(Clock):
    """A clock that is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("protocol", ["ISO 15118-20", "ISO 15118-2", "DIN 70121"])
def test_the_station_learns_the_vehicle_and_its_edition(protocol: str) -> None:
    recorder = Recorder()
    backend = station_backend(recorder)
    backend.execute(ports.TransactionStarted("s", "E", evcc_id="V", protocol=protocol))
    (named,) = (named for name, _, named in recorder.calls if name == "started")
    assert (named["evcc_id"], named["protocol"]) == ("V", protocol)


@pytest.mark.parametrize("begun", ["too late", "by somebody else", "given up", "in time"])
async def test_a_remote_start_is_for_the_vehicle_that_comes_in_time_and_for_no_other(begun: str) -> None:
    clock = Hands()
    backend = station_backend(Recorder(), clock)
    backend.execute(START)
    if begun == "by somebody else":
        backend.execute(ports.TransactionStarted("s", "E"))
    elif begun == "given up":
        backend.execute(RemoteStartExpired(evse_id=1))
    clock.now = CONNECTION_S + 1 if begun == "too late" else CONNECTION_S - 1
    asked = backend.execute(ports.AuthorizeExternally(attempt=1))
    assert asked is not None
    waiting = asyncio.ensure_future(asked)
    await asyncio.sleep(0)
    assert waiting.done() is (begun == "in time")
    backend.execute(START)
    assert await waiting == ports.AuthorizationDecided(1, AuthorizationStatus.ACCEPTED)


@pytest.mark.parametrize(
    ("emaid", "accepted"), [("DE-V2G-C00000001", True), ("DEV2GC000000019", True), ("DEV2GC00000002", False)]
)
async def test_without_a_back_end_listed_contracts_may_charge_and_nobody_else(emaid: str, accepted: bool) -> None:
    asked = NoBackend(("dev2gc00000001",), free=False).execute(ports.AuthorizeContract(1, emaid, ()))
    assert asked is not None
    decided = await asked
    assert (decided.status is AuthorizationStatus.ACCEPTED) is accepted  # type: ignore[union-attr]


@pytest.mark.parametrize("free", [True, False])
async def test_without_a_back_end_external_identification_is_free_or_refused(free: bool) -> None:
    asked = NoBackend((), free=free).execute(ports.AuthorizeExternally(1))
    assert asked is not None
    assert ((await asked).status is AuthorizationStatus.ACCEPTED) is free  # type: ignore[union-attr]


def test_what_is_not_for_a_back_end_is_left_alone() -> None:
    for backend in (station_backend(Recorder()), NoBackend((), free=True)):
        assert backend.execute(ports.OpenContactors()) is None
