"""Autocharge in DIN 70121 and ISO 15118-2: vehicle, charger and charging station joined in memory."""

from typing import Any

import pytest
from msgspec.structs import replace

from evcc.session.settings import VehicleConfig
from pki_tools.tree import PkiTree
from secc.session import ports as se
from secc.session.config import EnergyService
from tests.sessions.joined_messages import CHARGER, VEHICLE, MessageJoined, utc_ms
from tests.station.bench import FIXED, Bench
from tests.station.blocks.transactions.managed_resumption import begin
from v2g.iso15118.engine.session import Command, Fact
from v2g_station.blocks.authorization.contracts import AuthorizationStatus
from v2g_station.blocks.evse import VehicleAddress
from v2g_station.blocks.transactions.managed import RemoteStartRequested

__all__ = ["utc_ms"]

MAC = "04:65:65:00:64:C3"


class AutochargeJoined(MessageJoined):
    """A charger whose station asks a CSMS about vehicles; `present` is when (s) the driver presents a card."""

    def __init__(self, edition: str, pki: PkiTree, utc_ms: int, *, mac: str = MAC, on: bool = True) -> None:
        self.station = Bench(evses=(FIXED,), managed=True)
        self.waiting: se.AuthorizeExternally | None = None
        vehicle = replace(VEHICLE, vehicle=VehicleConfig(mac_address=mac))
        kind = EnergyService.AC if edition == "2-ac" else EnergyService.DC
        charger = replace(CHARGER, autocharge=on, services=(kind,))
        super().__init__(edition, pki, utc_ms, vehicle, charger=charger)

    def obey_charger(self, command: Command) -> Fact | None:
        match command:
            case se.AuthorizeExternally(mac_address=mac_address):
                self.waiting = command
                if mac_address:
                    self.station.fact(VehicleAddress(evse_id=1, mac_address=mac_address))
                return self._decided()
            case se.TransactionStarted(session_id=session_id, emaid=emaid):
                begin(self.station, session_id, emaid)
        return super().obey_charger(command)

    def present_card(self) -> None:
        self.station.present("TAG-1")
        decided = self._decided()
        assert decided is not None
        self.secc.fact(decided, self.now, self.utc_ms)
        self.settle()

    def _decided(self) -> Fact | None:
        if self.waiting is None or not any(isinstance(each, RemoteStartRequested) for each in self.station.commands):
            return None
        return se.AuthorizationDecided(self.waiting.attempt, AuthorizationStatus.ACCEPTED)


@pytest.fixture(params=["din", "2-dc", "2-ac"])
def edition(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def payer(joined: AutochargeJoined) -> Any:
    return joined.station.expect("TransactionEvent", eventType="Started")["idToken"]


def test_a_known_vehicle_charges_without_a_card(edition: str, pki: PkiTree, utc_ms: int) -> None:
    joined = AutochargeJoined(edition, pki, utc_ms)
    joined.complete()
    assert joined.imported_mwh() >= 100_000
    assert payer(joined) == {"idToken": "0465650064C3", "type": "MacAddress"}


def test_an_unknown_vehicle_waits_for_its_drivers_card(edition: str, pki: PkiTree, utc_ms: int) -> None:
    joined = AutochargeJoined(edition, pki, utc_ms)
    joined.station.answers["Authorize"] = lambda asked: {
        "idTokenInfo": {"status": "Unknown" if asked["idToken"]["type"] == "MacAddress" else "Accepted"}
    }
    joined.run(lambda: joined.waiting is not None)
    for _ in range(100):
        joined.advance()
    assert joined.imported_mwh() == 0
    joined.present_card()
    joined.run()
    assert joined.imported_mwh() >= 100_000
    assert payer(joined)["idToken"] == "TAG-1"


@pytest.mark.parametrize(("mac", "on"), [(MAC, False), ("02:65:65:00:64:C3", True), ("FF:FF:FF:FF:FF:FF", True)])
def test_nobody_is_asked_about_where_nothing_identifies(
    edition: str, pki: PkiTree, utc_ms: int, mac: str, on: bool
) -> None:
    joined = AutochargeJoined(edition, pki, utc_ms, mac=mac, on=on)
    joined.run(lambda: joined.waiting is not None)
    for _ in range(20):
        joined.advance()
    joined.station.nothing("Authorize")
    joined.present_card()
    joined.run()
    assert joined.evcc_reason == "finished"
