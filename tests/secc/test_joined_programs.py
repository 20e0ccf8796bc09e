"""Discharge at a whole charger by a whole vehicle: terms, forged commands, refusals, and the power of each vehicle."""

import base64
import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pki_tools.tree import PkiTree
from tests.secc.stand import bundle, charge, stand
from v2g.asn1.discharge import DischargeDecision, DischargeOffer, decode_content, decode_signed
from v2g.errors import ConfigError
from v2g.hardware.interfaces import Demand, StageReport
from v2g.io.simulation.power import SimulatedStage
from v2g_cli.demo.faults import Fault, FaultyStream

DC = '[charger]\nservices = [6]\npoll_hold_s = 0.05\n{charger}\n[hardware]\nkind = "dc"\n{hardware}\n'
BOTH_WAYS = charge("DC_BPT", 'do = "discharge"\nenergy_wh = 50')


def content(record: dict[str, Any]) -> object:
    """Return what the message of a record says."""
    return decode_content(decode_signed(base64.b64decode(record["payload"])).content)


def of(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in records if each["kind"] == kind]


@pytest.mark.requirement("R11", "R35")
async def test_terms_and_the_vehicles_answer_are_kept_and_wear_is_paid(pki: PkiTree, tmp_path: Path) -> None:
    wear = '[charger.prices]\nwear = "0.02"\n'
    async with stand(tmp_path, pki, DC.format(charger=wear, hardware=""), BOTH_WAYS) as both:
        assert await both.run() == "finished"
    records, settlement = bundle(tmp_path)
    (offered,), (decided,) = of(records, "terms_offered"), of(records, "terms_decided")
    terms, decision = content(offered), content(decided)
    assert isinstance(terms, DischargeOffer)
    assert isinstance(decision, DischargeDecision)
    assert {each.export_compensation for each in terms.prices} == {250_000}
    assert (decision.accepted, decided["accepted"], decision.offer_id) == (True, True, terms.offer_id)
    assert decision.terms_hash == hashlib.sha512(base64.b64decode(offered["payload"])).digest()
    lines = settlement["lines"]  # of each kind two where a quarter of an hour ends meanwhile

    def total_of(kind: str, direction: str, field: str) -> int:
        return sum(each[field] for each in lines if (each["kind"], each["direction"]) == (kind, direction))

    exports = [each for each in lines if (each["kind"], each["direction"]) == ("energy", "export")]
    assert {(each["price"], each["basis"]) for each in exports} == {(250_000, f"offer:{terms.offer_id.hex()}")}
    exported = total_of("energy", "export", "energy_mwh")
    assert total_of("wear", "export", "energy_mwh") == exported > 50_000
    for each in (each for each in lines if each["kind"] == "wear"):
        assert (each["price"], each["amount"]) == (20_000, round(each["energy_mwh"] * 20_000 / 10**6))
    capacity_mwh, use = 60_000_000, settlement["battery"]
    assert use["throughput_mwh"] == total_of("energy", "import", "energy_mwh") + exported
    assert use["v2g_cycles"] == exported * 10**6 // capacity_mwh
    assert use["full_cycles"] == use["throughput_mwh"] * 10**6 // (2 * capacity_mwh)
    (total,) = settlement["totals"]
    paid = total_of("energy", "export", "amount") + total_of("wear", "export", "amount")
    assert total["balance"] == total_of("energy", "import", "amount") - paid


@pytest.mark.requirement("R26")
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.FORGED_COMMAND, "bad_signature"),
        (Fault.REPLAYED_COMMAND, "replayed"),
        (Fault.EXPIRED_COMMAND, "expired"),
    ],
)
async def test_a_command_that_is_forged_replayed_or_late_moves_no_energy_and_is_recorded(
    pki: PkiTree, tmp_path: Path, fault: Fault, reason: str
) -> None:
    """What is replayed was valid once: no energy flows beyond its 300 s."""
    wish = charge("DC_BPT", 'do = "discharge"\nfor_s = 400')
    async with stand(tmp_path, pki, DC.format(charger="", hardware=""), wish) as both:
        assert await both.run(lambda stream, key: FaultyStream(stream, fault, key)) == "finished"
        _, exported, _, discharged = both.energy_wh()
        once = fault is Fault.REPLAYED_COMMAND
        assert (exported > 0, discharged > 0) == (once, once)
        assert exported <= 10_000 * 300 / 3600
        rejected = both.named("secc", "offer", "command_rejected")
    assert {each["reason"] for each in rejected} == {reason}
    records, settlement = bundle(tmp_path)
    assert len(of(records, "command_accepted")) == once
    assert [each["reason"] for each in of(records, "command_rejected")] == [reason] * len(rejected)
    assert len(rejected) > 1
    assert settlement["end"]["export_mwh"] == records[-1]["export_mwh"] == round(exported * 1000)


@pytest.mark.requirement("R30")
@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("minimum_soc = 50", "state_of_charge_too_low"),
        ("minimum_soc = 20\nminimum_temperature_c = 30", "battery_condition"),
        ("minimum_soc = 20\nmaximum_temperature_c = 20", "battery_condition"),
    ],
)
async def test_discharge_is_refused_with_the_reason(pki: PkiTree, tmp_path: Path, policy: str, reason: str) -> None:
    wish = '[services]\nenergy = ["DC_BPT"]\n[[program]]\ndo = "discharge"\nfor_s = 60\n'
    async with stand(tmp_path, pki, DC.format(charger="", hardware=""), wish, policy=policy) as both:
        assert await both.run() == "finished"
        assert both.energy_wh() == (0, 0, 0, 0)
        (decided,) = both.named("evcc", "offer", "decided")
        assert (decided["accepted"], decided["reason"]) == (False, reason)
    records, _ = bundle(tmp_path)
    assert [(each["accepted"], each["reason"]) for each in of(records, "terms_decided")] == [(False, reason)]
    assert of(records, "command_accepted") == []


@pytest.mark.requirement("R14")
@pytest.mark.parametrize(
    ("profile", "kind", "power_w"),
    [
        ("ac-11kw", "ac", 11_000),
        ("dc-60kw", "dc", 60_000),
        ("dc-62.5kw", "dc", 62_500),
        ("bench-200kw", "dc", 200_000),
        ("bench-200kw", "ac", 11_000),
    ],
)
async def test_a_vehicle_discharges_with_exactly_its_power_or_the_chargers(
    pki: PkiTree, tmp_path: Path, profile: str, kind: str, power_w: int
) -> None:
    most = 11_000 if profile == "bench-200kw" else 43_000
    charger = f"""[charger]
services = [{5 if kind == "ac" else 6}]
poll_hold_s = 0.05
[charger.rating]
max_charge_power_w = 350000
max_charge_current_a = 500
max_discharge_power_w = 350000
max_discharge_current_a = 500
[charger.ac_rating]
phases = 1
max_charge_power_w = 43000
max_discharge_power_w = {most}
[hardware]
kind = "{kind}"
"""
    wish = '[[program]]\ndo = "discharge"\nfor_s = 120\n'
    async with stand(tmp_path, pki, charger, wish, head=f'profile = "{profile}"\n', site_w=400_000) as both:
        assert await both.run() == "finished"
        loops = [each for each in both.named("secc", "loop", "response") if each["power_w"]]
        flows = [  # each current is for the voltage that was measured a loop before, and which has fallen since
            each["power_w"] * before["voltage_mv"] / each["voltage_mv"] for before, each in pairwise(loops)
        ]
        # The vehicle measures steps of 0.1 V; a loop later its battery gives up to 4e-4 less at the greatest current
        assert power_w * (1 - 8e-4) <= -min(flows) <= power_w * (1 + 3e-4)
        assert -min(each["power_w"] for each in loops) <= power_w * (1 + 3e-4)
        assert both.energy_wh()[1] > power_w * 60 / 3600
        assert [each["max_discharge_w"] for each in both.named("evcc", "offer", "decided")] == [power_w]


# -- the calibrated voltmeter -------------------------------------------------------------------------------------

FULL = "[battery]\nocv = [[0.0, 407.5], [100.0, 407.6]]\nresistance_ohm = 0.05\n"
"""A battery at its end of charge: at 50 A its terminals have the 410 V that are allowed; 415 V trip."""


OUTPUT_RISES = '[[hardware.simulated.faults]]\nfault = "over_voltage"\nwhen = "current"\nafter_s = 0.2\n'


def misread(patch: pytest.MonkeyPatch, error_mv: int) -> None:
    """Let the stage's own voltmeter read so much too much, by which it also regulates."""
    init: Any = SimulatedStage.__init__
    present, drive = SimulatedStage.present, SimulatedStage.drive

    def read(report: StageReport) -> StageReport:
        return replace(report, voltage_mv=max(0, report.voltage_mv + error_mv) if report.voltage_mv else 0)

    def wanted(demand: Demand) -> Demand:
        return replace(demand, voltage_mv=max(0, demand.voltage_mv - error_mv) if demand.voltage_mv else 0)

    def begin(stage: SimulatedStage, *args: Any, **kwargs: Any) -> None:
        init(stage, *args, **kwargs)
        tell = stage.on_report.tell
        patch.setattr(stage.on_report, "tell", lambda report: tell(read(report)))

    patch.setattr(SimulatedStage, "__init__", begin)
    patch.setattr(SimulatedStage, "present", property(lambda stage: read(present.fget(stage))))
    patch.setattr(SimulatedStage, "drive", lambda stage, demand: drive(stage, wanted(demand)))


@pytest.mark.requirement("R40", "R41", "R132")
@pytest.mark.parametrize(
    ("error_mv", "offset_mv", "fault", "trips"),
    [
        (8_000, 0, "", True),
        (8_000, -8_000, "", False),
        (0, 0, "", False),
        (-8_000, 8_000, "", False),
        (-8_000, 8_000, OUTPUT_RISES, True),
    ],
)
async def test_over_voltage_protection_takes_the_calibrated_voltage(
    pki: PkiTree,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error_mv: int,
    offset_mv: int,
    fault: str,
    *,
    trips: bool,
) -> None:
    misread(monkeypatch, error_mv)
    hardware = f"voltmeter_offset_mv = {offset_mv}\n{fault}"
    wish = '[services]\nenergy = ["DC_BPT"]\n[[program]]\ndo = "charge"\nfor_s = 200\n'
    async with stand(
        tmp_path, pki, DC.format(charger="", hardware=hardware), wish, battery=FULL, site_w=60_000
    ) as both:
        await both.run()
        assert both.ended == ("over_voltage" if trips else "vehicle")
        off = both.named("secc", "power", "emergency_off")
        assert [each["reason"] for each in off] == (["over_voltage"] if trips else [])
        assert not both.controller.hardware.contactors_closed  # type: ignore[attr-defined]
        seen = [each["voltage_mv"] for each in both.named("secc", "loop", "response")]
    assert seen[0] == 407_550 + error_mv + offset_mv, "the battery's voltage, shifted by the offset exactly"
    assert trips or max(seen) == 410_000
    records, _ = bundle(tmp_path)
    assert [each["offset_mv"] for each in of(records, "voltmeter_calibrated")] == ([offset_mv] if offset_mv else [])


@pytest.mark.requirement("R40")
@pytest.mark.parametrize("offset_mv", [-10_001, 10_001])
async def test_an_offset_out_of_range_is_refused(pki: PkiTree, tmp_path: Path, offset_mv: int) -> None:
    hardware = f"voltmeter_offset_mv = {offset_mv}\n"
    with pytest.raises(ConfigError, match="voltmeter_offset_mv"):
        async with stand(tmp_path, pki, DC.format(charger="", hardware=hardware), BOTH_WAYS):
            pass
