"""The signed report on a battery: what it says, who can verify it, and what is noticed."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.battery.used import BEGIN_MS, LOST, SETTINGS, used
from tests.battery.worn import NMC, PACK, electrodes
from tests.packages import need
from v2g.battery import health, report, usage
from v2g.battery.report import BatteryClaims, HealthReport, ReportedEvent, sign_report, verify_report
from v2g.battery.report_page import report_page
from v2g.battery.sample import Sample
from v2g.errors import RefusedError, SignatureError, VerificationError
from v2g.pki.keys import SoftwareKey, sign_der

pytestmark = pytest.mark.requirement("R213")

DAYS = 18
KEY = SoftwareKey(ec.derive_private_key(7, ec.SECP256R1()))
OTHER = SoftwareKey(ec.derive_private_key(8, ec.SECP256R1()))


def made(state: health.HealthState, used_: usage.UsageState, ev: str = "EV-1", **changes: Any) -> HealthReport:
    about: dict[str, Any] = {
        "ev": ev, "place": (1, 1296), "references": 1, "now_ms": BEGIN_MS + DAYS * 86_400_000,
        "events": [ReportedEvent("over_temperature", BEGIN_MS + 86_400_000, None, 47.0)],
    }  # fmt: skip
    return report.make_report(SETTINGS, state, used_, **(about | changes))


class Life(NamedTuple):
    state: health.HealthState
    usage: usage.UsageState
    report: HealthReport
    data: bytes
    signature: bytes


@pytest.fixture(scope="module")
def life() -> Life:
    state, known = health.HealthState(), usage.UsageState()
    for sample, context in used(DAYS):
        state, _ = health.step(SETTINGS, state, sample)
        known = usage.step(PACK, known, sample, context)
    found = made(state, known)
    return Life(state, known, found, *sign_report(found, KEY))


def test_it_says_what_was_measured_within_its_deviation(life: Life) -> None:
    found, truth = life.report, 100 * NMC.capacity(electrodes(LOST))
    assert abs(found.soh_percent.value - truth) < min(3.0, 3 * found.soh_percent.deviation)
    assert found.capacity_ah.value == pytest.approx(found.soh_percent.value * PACK.capacity_ah / 100)
    assert found.cycles.total == pytest.approx(0.6 * DAYS, rel=0.05)  # from 20 to 80 % and back each day
    assert found.cycles.v2g_share_percent == pytest.approx(100 / 6, rel=0.03)
    assert sum(found.cycles.by_purpose.values()) == pytest.approx(found.cycles.total)
    assert found.evidence.measurements >= 2 * DAYS - 2


def test_exposure_is_the_time_in_which_values_held(life: Life) -> None:
    spent, hours = life.report.exposure, 3600.0
    assert spent.hot_charging_s == pytest.approx(3 * hours, abs=600)
    assert spent.temperature_s[report.TEMPERATURES_C.index(45.0) + 1] == pytest.approx(3 * hours, abs=600)
    assert spent.charge_rate_s[1] == pytest.approx(3 * DAYS * hours, rel=0.02)  # 0.1 to 0.25 C
    assert life.report.evidence.unknown_s == pytest.approx((DAYS - 1) * 12 * hours, rel=0.02)  # the nights
    extreme = life.report.passport["TemperatureInformation"]
    assert extreme["TimeExtremeHighTempCharging"] == pytest.approx(180, abs=10)
    assert extreme["TimeExtremeLowTemp"] == 0


def test_the_passport_has_the_names_of_the_published_model(life: Life) -> None:
    """IDTA 02035-5, "Product Condition" 1.0.1: each attribute is in the passport, or said to be absent."""
    assert set(life.report.passport) | set(life.report.absent) == {
        "EnergyThroughput", "CapacityThroughput", "NumberOfFullCycles", "StateOfCertifiedEnergy", "RemainingEnergy",
        "RemainingCapacity", "NegativeEvents", "InformationOnAccidents", "TemperatureInformation",
        "RemainingPowerCapability", "EvolutionOfSelfDischarge", "CurrentSelfDischargingRate",
        "RemainingRoundTripEnergyEfficiency", "StateOfCharge",
    }  # fmt: skip
    assert not set(life.report.passport) & set(life.report.absent)
    assert life.report.passport["NumberOfFullCycles"]["NumberOfFullCyclesValue"] == int(life.report.cycles.total)
    assert life.report.passport["NegativeEvents"][0]["NegativeEventValue"] == "over_temperature"


# -- Verification ------------------------------------------------------------------------------------------------------


def changed(leaf: Any) -> Any:
    if isinstance(leaf, str):
        return leaf + "X"
    return True if leaf is None else leaf + 1


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    below = [found for key, each in items for found in leaves(each, (*path, key))]
    yield from below or [path]


def with_leaf(data: bytes, path: tuple[Any, ...], change: Callable[[Any], Any]) -> bytes:
    tree = json.loads(data)
    here = tree
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = change(here[path[-1]])
    return msgspec.json.format(msgspec.json.encode(tree), indent=1) + b"\n"


def forgeries(life: Life) -> list[tuple[bytes, bytes]]:
    """Return 50 forgeries: of values, text, signature and key."""
    data, signature = life.data, life.signature
    paths = list(leaves(json.loads(data)))
    found = [(with_leaf(data, path, changed), signature) for path in paths[:: len(paths) // 35][:35]]
    found += [(each, signature) for each in (data + b"\n", b" " + data, data[:-2], data.replace(b"EV-1", b"EV-3"), b"")]
    found += [
        (data, bytes(octet ^ (place == wrong) for place, octet in enumerate(signature))) for wrong in (5, 20, 40, 60)
    ]
    theirs, their_signature = sign_report(msgspec.structs.replace(life.report, ev="EV-2"), KEY)
    found += [
        (data, their_signature),
        (theirs, signature),
        (data, b""),
        (data, signature[:-1]),
        (data, signature[::-1]),
    ]
    return [*found, sign_report(life.report, OTHER)]


def test_50_of_50_forgeries_are_noticed_by_us_and_by_openssl(life: Life, tmp_path: Path) -> None:
    need("openssl", program="openssl")
    key, report_, signature = tmp_path / "key.pem", tmp_path / "report.json", tmp_path / "report.json.sig"
    key.write_bytes(KEY.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def openssl(data: bytes, signed: bytes) -> bool:
        report_.write_bytes(data)
        signature.write_bytes(signed)
        command = ["openssl", "dgst", "-sha256", "-verify", str(key), "-signature", str(signature), str(report_)]
        return subprocess.run(command, capture_output=True).returncode == 0

    assert verify_report(life.data, life.signature, KEY.public_key) == life.report
    assert openssl(life.data, life.signature)
    forged = forgeries(life)
    assert len(forged) == len(set(forged)) == 50
    for data, signed in forged:
        with pytest.raises(SignatureError):
            verify_report(data, signed, KEY.public_key)
        assert not openssl(data, signed)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("soh_percent", "value"), 120.0, "are not"),
        (("cycles", "total"), 3.0, "cycles"),  # those of another vehicle
        (("cycles", "by_purpose", "v2g"), 0.0, "cycles"),
        (("flows", "v2g", "discharged_ah"), 0.0, "cycles"),
        (("flows", "driving", "seconds"), 1.0, "purposes"),
        (("exposure", "temperature_s", 8), 1e9, "temperatures"),
        (("passport", "NumberOfFullCycles", "NumberOfFullCyclesValue"), 1, "passport"),
        (("passport", "RemainingCapacity"), 5, "passport"),
        (("passport", "StateOfCharge"), 5, "passport"),
        (("evidence", "last_ms"), 1, "end before"),
        (("evidence", "samples"), 0, "malformed"),
        (("schema",), "v2g-battery-report/2", "malformed"),
        (("more",), 1, "malformed"),
    ],
)
def test_what_contradicts_itself_is_refused_whoever_signed_it(
    life: Life, path: tuple[Any, ...], value: Any, said: str
) -> None:
    tree = json.loads(life.data)
    here = tree
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    data = json.dumps(tree).encode()
    with pytest.raises(VerificationError, match=said):
        verify_report(data, sign_der(KEY, data), KEY.public_key)


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000, b"1" * 2_000_000])
def test_what_is_no_report_is_one_documented_error(data: bytes) -> None:
    with pytest.raises(VerificationError, match="malformed"):
        verify_report(data, sign_der(KEY, data), KEY.public_key)


def test_claims_are_held_against_the_record(life: Life) -> None:
    soh, cycles = life.report.soh_percent.value, life.report.cycles.total
    report.refuse_claims(life.report, BatteryClaims(soh_percent=soh + 0.1, cycles=cycles + 1, v2g_share_percent=17.0))
    for claims in (
        BatteryClaims(soh_percent=120.0),
        BatteryClaims(soh_percent=soh + 10),
        BatteryClaims(capacity_ah=180.0),
        BatteryClaims(cycles=cycles / 3),
        BatteryClaims(v2g_share_percent=0.0),
        BatteryClaims(soh_percent=float("nan")),
    ):
        with pytest.raises(RefusedError, match="contradicts the record") as refused:
            report.refuse_claims(life.report, claims)
        assert refused.value.reason == "claim_contradicted"


def test_too_little_and_what_cannot_be_is_refused(life: Life) -> None:
    with pytest.raises(RefusedError, match="measured 0 times"):
        made(health.HealthState(), usage.UsageState())
    assert life.state.capacity is not None
    better = msgspec.structs.replace(life.state.capacity, capacity=1.2)
    with pytest.raises(RefusedError, match="120 %"):
        made(msgspec.structs.replace(life.state, capacity=better), life.usage)


# -- The page ----------------------------------------------------------------------------------------------------------


def test_the_page_is_well_formed_loads_nothing_and_says_what_the_json_says(life: Life) -> None:
    odd = ReportedEvent("<script>", BEGIN_MS, BEGIN_MS + 1)
    page = report_page(msgspec.structs.replace(life.report, events=(odd,)), life.data, life.signature)
    tree = ElementTree.fromstring(page.partition("\n")[2])
    text = " ".join(" ".join(tree.itertext()).split())
    assert f"{life.report.soh_percent.value:.1f} ±" in text
    assert "16.7 % for the grid" in text
    assert "<script" not in page
    assert "@media print" in page
    assert not [each for each in tree.iter() if {"src", "href"} & each.attrib.keys()]


# -- Usage -------------------------------------------------------------------------------------------------------------


def test_deep_discharges_are_counted_once_each_and_a_clock_that_was_set_back_changes_nothing() -> None:
    state = usage.UsageState()
    for second, soc in enumerate((50, 4, 6, 4, 11, 3, 20)):
        values = {"battery.current": -10.0, "battery.voltage": 350.0, "battery.soc": float(soc)}
        state = usage.step(PACK, state, Sample(1000 * second, values), "highway")
    assert state.deep_discharges == 2
    assert usage.step(PACK, state, Sample(500, {"battery.current": 1.0, "battery.voltage": 1.0}), "city") is state
    assert usage.step(PACK, state, Sample(10**9, {}), "city") is state
    assert set(state.flows) == {"driving"}
