"""Steps at simulated stations by hand."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509

from tests.testkit.ocpp.rig import BEGIN_MS, contract_files
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.evse import AllowPower, ContractPresented, Plug
from v2g_station.blocks.security.certificates import ContractAnswer, ContractRequest
from v2g_station.blocks.smart_charging.high_level import ContractWanted, GiveContract, VehicleEnds, VehicleKnown
from v2g_station.blocks.smart_charging.smart_charging import AllowEnergyTransfer
from v2g_station.simulator.behaviour import OLDER_PROTOCOL, QUIET, WISH, Departing, SimulatedSite
from v2g_station.simulator.device import crash_of
from v2g_station.simulator.fleet import StationControl, load_contract, validity


async def test_a_client_that_stays_connected_does_not_keep_the_program_running() -> None:
    """From Python 3.12 on, `wait_closed` waits for every connection."""
    control = StationControl({})
    reader, writer = await asyncio.open_connection("127.0.0.1", await control.listen(0))
    writer.write(b"plug 1\n")
    assert await reader.readline() == b"error no station plug\n"
    async with asyncio.timeout(60):
        await control.close()
        assert await reader.read() == b""
    writer.close()


CONTRACT = ContractPresented(evse_id=0, emaid="DEV2GC00000001", chain_pem="CHAIN")


def site(*, contract: ContractPresented | None = CONTRACT, bidirectional: float = 1.0) -> SimulatedSite:
    """A site with one EVSE, to which vehicles come by hand."""
    behaviour = msgspec.structs.replace(QUIET, bidirectional=bidirectional)
    return SimulatedSite(behaviour, (50_000,), 0, lambda: 0.5, contract=contract)


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("contract", ContractPresented(evse_id=1, emaid="DEV2GC00000001", chain_pem="CHAIN")),
        ("install", ContractWanted(evse_id=1, request=ContractRequest(schema=OLDER_PROTOCOL, exi=WISH))),
        ("update", ContractWanted(evse_id=1, request=ContractRequest(schema=OLDER_PROTOCOL, exi=WISH, update=True))),
    ],
)
def test_a_vehicle_with_or_without_a_contract_comes_by_hand(kind: str, last: Fact) -> None:
    known, plug, found = site().do(f"vehicle 1 {kind}", 0)
    assert isinstance(known, VehicleKnown)
    assert known.protocol == OLDER_PROTOCOL
    assert isinstance(plug, Plug)
    assert found == last


@pytest.mark.parametrize("status", ["answered", "failed"])
def test_a_vehicle_presents_the_contract_that_it_has_got(status: Any) -> None:
    found = site()
    list(found.do("vehicle 1 install", 0))
    facts = list(found.command(GiveContract(evse_id=1, outcome=ContractAnswer(status=status)), 0))
    assert [type(each) for each in facts] == ([ContractPresented] if status == "answered" else [])


def test_a_vehicle_of_iso_15118_2_charges_one_way_by_a_schedule_and_ends() -> None:
    found = site()
    list(found.do("vehicle 1 iso-2", 0))
    facts = list(found.command(AllowPower(evse_id=1, allowed=True), 0))
    (reported,) = [each for each in facts if isinstance(each, Departing)]
    assert reported.needs.older
    assert (reported.needs.service, reported.needs.control_mode, reported.needs.max_discharge_w) == (
        "DC",
        "scheduled",
        0,
    )
    assert not found.serves(1, ["DC_BPT"])
    assert (
        list(found.command(AllowEnergyTransfer(evse_id=1, transaction_id="1", reference="1", modes=("DC_BPT",)), 0))
        == []
    )
    assert list(found.do("end 1", 0)) == [VehicleEnds(evse_id=1)]


@pytest.mark.parametrize(
    ("line", "more"),
    [("vehicle 1 contract", {"contract": None}), ("vehicle 1 dynamic", {"bidirectional": 0.0})],
)
def test_a_vehicle_that_there_is_not_does_not_come(line: str, more: dict[str, Any]) -> None:
    with pytest.raises(LookupError):
        list(site(**more).do(line, 0))


@pytest.mark.parametrize("line", ["vehicle 1 flying", "end 1"])
def test_what_is_no_step_is_said(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        list(site().do(line, 0))


def test_a_contract_is_validated_by_the_roots_at_hand(tmp_path: Path) -> None:
    root, chain = contract_files(tmp_path)
    contract = load_contract(chain)
    assert contract.emaid == "DEV2GC00000001"
    assert [each.responder_url for each in contract.hashes] == ["http://ocsp.example/mo"] * 2
    roots = x509.load_pem_x509_certificates(root.read_bytes())
    assert validity(contract, roots, BEGIN_MS) is True
    assert validity(contract, roots, BEGIN_MS + 60 * 86_400_000) is False
    assert validity(contract, [], BEGIN_MS) is None


@pytest.mark.parametrize(
    ("image", "seconds"),
    [(b"2.0\ncrashes 5\n", 5), (b"2.0\ncrashes 5", 5), (b"2.0\n", None), (b"2.0 crashes 5", None), (b"", None)],
)
def test_an_image_may_say_that_it_crashes(image: bytes, seconds: int | None) -> None:
    assert crash_of(image, "CS-1") == seconds


def test_an_image_may_crash_at_some_stations_and_always_at_the_same() -> None:
    names = [f"CS-{number}" for number in range(2000)]
    crashed = [crash_of(b"2.0\ncrashes 5 at 10 %\n", each) for each in names]
    assert set(crashed) == {None, 5}
    assert 140 < crashed.count(5) < 260
    assert crashed == [crash_of(b"2.0\ncrashes 5 at 10 %\n", each) for each in names]
