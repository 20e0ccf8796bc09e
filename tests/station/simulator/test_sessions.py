"""Real sessions, read from a file and repeated."""

from pathlib import Path

import pytest

from v2g.errors import ConfigError
from v2g.iso15118.engine.session import Fact
from v2g_station.blocks.evse import AllowPower, Fault, Plug, Power, TokenPresented
from v2g_station.simulator.behaviour import QUIET, SimulatedSite
from v2g_station.simulator.fleet import LEAD_S, StationFleet
from v2g_station.simulator.grid import NEVER_MS
from v2g_station.simulator.sessions import PlannedSession, read_sessions

HEADER = "station,evse,plugged_in,plugged_out,energy_kwh,max_kw,token,token_type,fault,operator\n"
MINUTE = 60_000


def read(folder: Path, text: str, name: str = "sessions.csv") -> dict[str, tuple[PlannedSession, ...]]:
    file = folder / name
    file.write_text(text)
    return read_sessions(file)


def test_rows_become_sessions_from_the_first_one_on(tmp_path: Path) -> None:
    text = (
        "B,2,2026-03-02T18:30:00+01:00,2026-03-02T19:00:00+01:00,7.5,22,CA4D0001,KeyCode,,x\n"
        "A,,2026-03-02 17:00:00,2026-03-02 17:10:00,,,,,true,y\n"
    )
    assert read(tmp_path, HEADER + text) == {
        "A": (session(0, 10 * MINUTE, fault=True, energy_mwh=0, max_w=11_000, token=""),),
        "B": (session(30 * MINUTE, 60 * MINUTE, evse=2, energy_mwh=7_500_000, token_type="KeyCode"),),
    }


def test_semicolons_and_decimal_commas_of_a_spreadsheet_are_read(tmp_path: Path) -> None:
    text = "\ufeff" + HEADER.replace(",", ";") + "A;;2026-03-02 17:00:00;2026-03-02 17:30:00;5,0;22,0;CA4D0001;;;a,b\n"
    assert read(tmp_path, text) == {"A": (session(0, 30 * MINUTE),)}
    assert read(tmp_path, text.replace("5,0;22,0", ";22")) == {"A": (session(0, 30 * MINUTE, energy_mwh=0),)}


def test_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "sessions.csv").write_bytes(HEADER.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"sessions\.csv: not UTF-8"):
        read_sessions(tmp_path / "sessions.csv")


def test_json_lines_are_read_alike(tmp_path: Path) -> None:
    row = '{"station": "A", "plugged_in": "2026-03-02T17:00:00Z", "plugged_out": "2026-03-02T18:00:00Z", '
    text = row + '"energy_kwh": 5, "max_kw": 22, "token": "CA4D0001", "site": {"x": 1}}\n\n'
    assert read(tmp_path, text, "s.jsonl") == {"A": (session(0, 60 * MINUTE),)}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "has no sessions"),
        ("A,1,yesterday,2026-03-02T18:00:00Z,1,1,,,,\n", r"csv:2: .*plugged_in"),
        ("A,1,2026-03-02T18:00:00Z,2026-03-02T18:00:00Z,1,1,,,,\n", "csv:2: plugged_out is not after"),
        ("A,0,2026-03-02T18:00:00Z,2026-03-02T18:01:00Z,1,1,,,,\n", r"csv:2: .*evse"),
        ("A,1,2026-03-02T18:00:00Z,2026-03-02T18:01:00Z,-1,1,,,,\n", r"csv:2: .*energy_kwh"),
        ("A/B,1,2026-03-02T18:00:00Z,2026-03-02T18:01:00Z,1,1,,,,\n", r"csv:2: .*station"),
        (
            "A,1,2026-03-02T18:00:00Z,2026-03-02T18:02:00Z,1,1,,,,\nA,1,2026-03-02T18:01:00Z,2026-03-02T18:03:00Z,1,1,,,,\n",
            "csv:3: EVSE 1 of A is still occupied by line 2",
        ),
    ],
)
def test_faults_are_named_with_their_line(tmp_path: Path, rows: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read(tmp_path, HEADER + rows)


def session(starts_ms: int, ends_ms: int, **changes: object) -> PlannedSession:
    usual = {"evse": 1, "energy_mwh": 5_000_000, "max_w": 22_000, "token": "CA4D0001", "token_type": "ISO14443"}
    return PlannedSession(starts_ms=starts_ms, ends_ms=ends_ms, **{"fault": False, **usual, **changes})  # type: ignore[arg-type]


def passed(site: SimulatedSite, until_ms: int, *, allowed: bool = True) -> list[tuple[int, Fact]]:
    """Let time pass; a presented token is accepted, or not."""
    found: list[tuple[int, Fact]] = []
    while (now := site.due()) <= until_ms:
        facts = list(site.advance(now))
        for each in list(facts):
            if isinstance(each, TokenPresented) and allowed and each.evse_id is not None:
                facts += site.command(AllowPower(evse_id=each.evse_id, allowed=True), now)
            if isinstance(each, Plug) and not each.vehicle:
                facts += site.command(AllowPower(evse_id=each.evse_id, allowed=False), now)
        found += [(now, each) for each in facts]
    return found


def test_vehicles_come_charge_and_leave_as_planned() -> None:
    plan = (session(0, 60 * MINUTE), session(90 * MINUTE, 96 * MINUTE, energy_mwh=30_000_000, max_w=11_000))
    site = SimulatedSite(QUIET, (50_000,), 1_000, lambda: 0.5, planned=plan)
    facts = passed(site, 200 * MINUTE)
    plugs = [(at - 1_000, each.vehicle) for at, each in facts if isinstance(each, Plug)]
    assert plugs == [(0, True), (60 * MINUTE, False), (90 * MINUTE, True), (96 * MINUTE, False)]
    full = [at - 1_000 for at, each in facts if isinstance(each, Power) and each.state == "SuspendedEV"]
    assert full == [pytest.approx(5 / 22 * 60 * MINUTE, abs=10)], "the second vehicle leaves before it is full"
    sample = site.read(1, 200 * MINUTE)
    assert sample is not None
    assert sample.import_mwh == pytest.approx(5_000_000 + 1_100_000, abs=10)
    assert (site.sessions, site.refused, site.due()) == (2, 0, NEVER_MS)


def test_a_vehicle_whose_token_is_refused_stays_and_is_counted() -> None:
    site = SimulatedSite(
        QUIET, (50_000,), 0, lambda: 0.5, planned=(session(0, MINUTE), session(MINUTE, 2 * MINUTE, token=""))
    )
    plugs = [at for at, each in passed(site, 10 * MINUTE, allowed=False) if isinstance(each, Plug)]
    assert plugs == [0, MINUTE, MINUTE, 2 * MINUTE]
    assert (site.sessions, site.refused) == (2, 1), "nobody was refused where nobody identified"


def test_an_evse_is_faulted_as_planned() -> None:
    site = SimulatedSite(QUIET, (50_000, 50_000), 0, lambda: 0.5, planned=(session(0, MINUTE, evse=2, fault=True),))
    facts = [(at, each.evse_id, each.active) for at, each in passed(site, 10 * MINUTE) if isinstance(each, Fault)]
    assert facts == [(0, 2, True), (MINUTE, 2, False)]
    assert site.sessions == 0


def test_a_fleet_has_the_stations_of_its_sessions() -> None:
    fleet = StationFleet(url="ws://x", sessions={"B": (session(0, MINUTE),), "C": (session(0, 9 * MINUTE),)}, speed=60)
    assert fleet.identities == ("B", "C")
    assert fleet.planned_s == pytest.approx(2 * LEAD_S + 2 / fleet.ramp_per_s + 9)
    assert StationFleet(url="ws://x").planned_s is None
