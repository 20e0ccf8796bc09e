"""Our charger and our vehicle over a cable between real interfaces: multicast discovery, TLS by the standard, V2X."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pki_tools.tree import DEFAULTS, PkiTree
from tests.interop.cable import EVCC_INTERFACE, Cable
from tests.interop.own_programs import EXPORT_W, grid_signal
from tests.interop.programs import charger, ended, named, own_papers, ready, tail, vehicle
from v2g.energy.settlement.bundle import verify_bundle
from v2g.io.storage.journal_file import read_files
from v2g.pki.credentials import load_chain

pytestmark = [pytest.mark.one_worker("cable"), pytest.mark.interop]


@pytest.mark.parametrize(
    ("service", "mode"),
    [
        ("DC_BPT", "dynamic"),
        pytest.param("DC_BPT", "scheduled", marks=pytest.mark.long),
        pytest.param("DC", "scheduled", marks=pytest.mark.long),
    ],
)
def test_a_session_over_multicast_and_link_local_addresses(
    cable: Cable, pki: PkiTree, tmp_path: Path, service: str, mode: str
) -> None:
    (tmp_path / "grid.json").write_bytes(grid_signal())
    secc = charger(
        tmp_path,
        cable,
        own_papers(pki, "secc"),
        f"""[site]
signal_file = "grid.json"
contracts = ["{DEFAULTS.emaid}"]
""",
    )
    evcc = vehicle(
        tmp_path,
        cable,
        own_papers(pki, "vehicle"),
        f"""[vehicle]
evcc_id = "{DEFAULTS.evcc_id}"

[services]
energy = ["{service}"]
control_mode = ["{mode}"]

[[program]]
do = "charge"
for_s = 1

[[program]]
do = "discharge"
for_s = 1
""",
    )
    charging = ready(secc)
    try:
        evcc.start()
        assert ended(evcc) == 0, tail(evcc)
    finally:
        secc.stop()
    assert secc.exit_code == 0, tail(secc)
    charging += secc.events.read()
    driving = [*evcc.events.read()]

    (found,) = named(driving, "sdp", "found")
    assert found["host"].startswith("fe80::")
    assert found["host"].endswith(f"%{EVCC_INTERFACE}")
    (connected,) = named(driving, "tls", "connected")
    assert (connected["version"], connected["group"], connected["ocsp"]) == ("TLSv1.3", "secp521r1", "good")
    assert named(charging, "authorization", "authorized")[0]["emaid"] == DEFAULTS.emaid
    (selected,) = named(charging, "service", "selected")
    assert (selected["service"], selected["control_mode"]) == (service, mode.capitalize())
    powers = [event["power_w"] for event in named(charging, "loop", "response")]
    assert 0 < max(powers) <= 40_000
    if service == "DC_BPT":
        assert named(charging, "offer", "command_accepted")
        assert -EXPORT_W - 60 <= min(powers) < 0
    else:
        assert min(powers) == 0
    assert named(charging, "session", "session_ended")[0]["reason"] == "vehicle"

    (bundle,) = (tmp_path / "secc" / "settlements").iterdir()
    anchors = [der for root in ("v2g", "mo") for der in load_chain(pki.path(f"{root}/root.pem"))]
    report = verify_bundle(read_files(bundle), anchors=anchors, now=datetime.now(UTC))
    begin, end = report.settlement.begin, report.settlement.end
    assert end.import_mwh > begin.import_mwh
    assert (end.export_mwh > begin.export_mwh) is (service == "DC_BPT")
    assert not report.interop
