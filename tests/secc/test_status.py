"""What a charger shows of itself: from its parts and its own events, in words that nothing can break."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki_tools.tree import PkiTree
from secc.app import assemble
from secc.config import ProgramConfig, load_config
from secc.session.power import GRID_SUPPORT
from secc.status import ChargerStatus, LineShown, StatusKeeper, summary
from secc.status_page import page
from tests.secc_toml import identity
from v2g.io.runtime.clock import Clock
from v2g.io.runtime.events import EventLog
from v2g.observe import Observe

STATION = """[station]
url = "ws://u:secret@localhost:1/ocpp"
identity = "CS-1"
store = "s.db"
"""
HOSTILE = "\x1b[2J<script>alert(1)</script>\u202e\n" * 50


NAMES = (
    *("csms_unreachable", "csms_connected", "boot", "boot_refused", "csms_disconnected", "station_failed", "matched"),
    *("down", "modem_found", "port_lost", "run_failed", "session_started", "session_ended", "protocol_negotiated"),
    *("asked", "refused", "board_found", "board_lost", "opened", "lowered", "bundle_failed", "key_set", "started"),
)
TEXT = """data_dir = "d"
[tls]
chain = "a"
key = "b"
v2g_roots = ["c"]
[meter]
chain = "d"
key = "e"
"""
CONFIG = load_config(TEXT + STATION, name="secc.toml")


class SetClock(Clock):
    """A clock that is set: `ahead_ms` is how far it is from the true time, at first so that it is 2000-01-01."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead_ms = 946_684_800_000 - super().utc_ms()

    def utc_ms(self) -> int:
        return super().utc_ms() + self.ahead_ms


def configured(folder: Path, pki: PkiTree, extra: str = "") -> ProgramConfig:
    text = f"""data_dir = "data"
{identity(pki, "v2g")}
[hardware]
backend = "bench"
{extra}"""
    return load_config(text, name=str(folder / "secc.toml"))


@pytest.fixture
def keeper(pki: PkiTree, tmp_path: Path) -> StatusKeeper:
    return StatusKeeper(configured(tmp_path, pki, STATION), Clock())


def said(keeper: StatusKeeper, part: str) -> str:
    return summary(keeper.latest, keeper.latest.evses[0])[part].text


def saw(keeper: StatusKeeper, stage: str, name: str, **data: Any) -> None:
    keeper.saw(Observe(stage, name, data))


def test_warnings_errors_and_defects_are_counted(keeper: StatusKeeper) -> None:
    for name in ("opened", "lowered", "opened"):
        saw(keeper, "safety", name, reason="power")
    saw(keeper, "program", "task_failed", task="t")
    saw(keeper, "power", "started")
    saw(keeper, "hardware", "seen_by_a_driver_from_elsewhere")
    assert keeper.latest.events == {"safety.opened": 2, "safety.lowered": 1, "program.task_failed": 1}
    assert keeper.latest.defects == 1


def test_the_eebus_node_is_shown_for_pairing(keeper: StatusKeeper) -> None:
    """R206."""
    saw(keeper, "power", "eebus_node", ski="ab" * 20, id="x", qr="SHIP;<b>;ENDSHIP;")
    saw(keeper, "power", "eebus_peer", ski="cd" * 20, state="waiting", reason="")
    saw(keeper, "power", "eebus_state", use_case="LPC", before="init", state="limited", limit_w=4200)
    shown = page(keeper.latest)
    for text in ("ab" * 20, "SHIP;&lt;b&gt;;ENDSHIP;", "cd" * 20, "waiting", "limited, 4200 W"):
        assert text in shown


def test_the_connection_to_the_csms_is_reported_with_the_reason(keeper: StatusKeeper) -> None:
    assert said(keeper, "csms") == "connecting to ws://u:***@localhost:1/ocpp"
    saw(keeper, "ocpp", "csms_unreachable", reason="wss://h: unable to get local issuer certificate", attempt=3)
    assert "3 failed attempts: wss://h: unable to get local issuer certificate" in said(keeper, "csms")
    since = keeper.latest.csms.since_ms
    saw(keeper, "ocpp", "csms_unreachable", reason="refused", attempt=4)
    assert keeper.latest.csms.since_ms == since
    saw(keeper, "ocpp", "csms_connected", version="2.1", slot=1)
    saw(keeper, "ocpp", "boot", status="Pending", interval=9)
    assert "not accepted yet: the CSMS answered Pending" in said(keeper, "csms")
    saw(keeper, "ocpp", "csms_online")
    assert "connected to ws://u:***@localhost:1/ocpp as CS-1, OCPP 2.1" in said(keeper, "csms")
    saw(keeper, "ocpp", "csms_silent", action="Heartbeat", silent_s=330)
    assert said(keeper, "csms").endswith("but it does not answer")
    saw(keeper, "ocpp", "csms_answers", silent_s=340)
    assert "answer" not in said(keeper, "csms")
    saw(keeper, "ocpp", "csms_disconnected", reason="no close frame")
    assert said(keeper, "csms").endswith(": no close frame; its limits stay in force")
    saw(keeper, "ocpp", "csms_online")
    keeper.take([], connected=False)
    assert keeper.latest.csms.state == "disconnected", "the socket counts, whatever was reported"


async def test_a_clock_before_the_meters_certificate_is_wrong_until_it_is_set(pki: PkiTree, tmp_path: Path) -> None:
    config, clock = configured(tmp_path, pki), SetClock()
    async with assemble(config, clock, EventLog("secc", clock)) as charger:
        keeper = StatusKeeper(config, clock)
        keeper.take(charger.controllers)
        assert said(keeper, "signature").startswith("the clock is wrong (2000-01-01): the certificate is valid from 20")
        clock.ahead_ms = 0
        keeper.take(charger.controllers)
        assert said(keeper, "signature").startswith("no session signed since the start")


async def test_parts_and_sessions_of_a_charger_are_read(pki: PkiTree, tmp_path: Path) -> None:
    config, clock = configured(tmp_path, pki), Clock()
    seen: list[Observe] = []
    log = EventLog("secc", clock)
    log.on_event(seen.append)
    async with assemble(config, clock, log) as charger:
        keeper = StatusKeeper(config, clock)
        keeper.take(charger.controllers)
        evse = keeper.latest.evses[0]
        assert evse.meter.serial == "METER-0001"
        assert evse.meter.certificate_until > "2026"
        assert evse.stage.rating_w == charger.controllers[0].rating
        assert evse.interlock.blocked == "not_authorised"
        assert evse.pilot is None
        for name, data in (
            ("protocol_negotiated", {"protocol": "ISO 15118-20 DC"}),
            ("session_started", {"session_id": "ab", "evse_id": config.charger.evse_id}),
            ("session_ended", {"session_id": "ab", "reason": "vehicle"}),
        ):
            keeper.saw(Observe("session", name, data))
        keeper.saw(Observe("power", "supports_grid", {"functions": "over_frequency_watt volt_var"}))
        keeper.saw(Observe("hardware", "board_lost", {"why": "the port is gone"}))
        charger.controllers[0].hardware.fault("meter_jump", active=True)  # type: ignore[attr-defined]
        keeper.take(charger.controllers)
        (session,) = keeper.latest.evses[0].sessions
        assert (session.session_id, session.edition, session.reason) == ("ab", "ISO 15118-20 DC", "vehicle")
        assert session.grid_support == "over_frequency_watt volt_var"  # R221
        given, lacks = session.grid_support, f"{session.grid_support} (lacks functions of the grid code)"
        for reason, watts, shown in (
            ("vehicle", 9_000, given),
            (GRID_SUPPORT, 0, lacks),
            ("session_ends", 0, lacks),
            ("vehicle", 9_000, given),
        ):
            limited = {"discharge_limited_by": reason, "discharge_limit_w": watts}
            keeper.saw(Observe("power", "limited", limited))
            keeper.take(charger.controllers)
            assert keeper.latest.evses[0].sessions[0].grid_support == shown
        assert "latched: `v2g hardware serviced`" in said(keeper, "faults")
        keeper.take(charger.controllers)
    mine = [each for each in seen if (each.stage, each.name) == ("hardware", "status")]
    assert [set(each.data) for each in mine].count(set(summary(keeper.latest, evse))) == len(mine) >= 2
    assert all(first.data != second.data for first, second in pairwise(mine))
    assert json.loads(msgspec.json.encode(keeper.latest))["evses"][0]["sessions"][0]["session_id"] == "ab"


def test_each_evse_shows_its_own_matching() -> None:
    """Events of a charger with several EVSEs name theirs; those of the whole charger concern none."""
    ids = ("DE*V2G*E1", "DE*V2G*E2")
    evses = "".join(f'[[evses]]\nevse_id = "{name}"\nmeter = {{chain = "{name}", key = "k"}}\n' for name in ids)
    config = load_config(f'{TEXT}[link]\nmedium = "m"\n[link.slac]\n{evses}', name="secc.toml")
    keeper = StatusKeeper(config, Clock())

    def modem(name: str, **data: Any) -> LineShown:
        keeper.saw(Observe("link", name, {"evse_id": ids[1], **data}))
        first, second = keeper.latest.evses
        assert summary(keeper.latest, first)["modem"].text == "loopback: no network key yet"
        return summary(keeper.latest, second)["modem"]

    assert modem("key_set", nid="ab") == ("loopback: ready for a vehicle", "good")
    ready = "loopback: ready for a vehicle, QCA7000 firmware 1.1.0.730"
    assert modem("modem_found", chip="QCA7000", firmware="1.1.0.730").text == ready
    assert modem("matching_started").tone == "busy"
    assert modem("run_failed", reason="sounds_missing").text.endswith("last failure: sounds_missing")
    assert modem("matched", attenuation_db=11.5).text.endswith(
        "link up, QCA7000 firmware 1.1.0.730, last match 11.5 dB"
    )
    assert modem("down", reason="unplugged") == (f"{ready}, last match 11.5 dB", "good")
    assert modem("key_set", nid="cd").text == f"{ready}, last match 11.5 dB"
    assert modem("down", reason="modem_silent").tone == "bad"
    assert modem("port_lost", error="gone").text.endswith("last failure: gone")
    assert modem("port_back").text.startswith("loopback: no network key yet")
    keeper.saw(Observe("link", "key_set", {"nid": "ab"}))
    assert keeper.latest.evses[0].modem.state == "starting"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ocpp", "link", "session", "hardware", "safety", "settlement", "tls", "authorization"]),
            st.sampled_from(NAMES),
            st.dictionaries(
                st.sampled_from(["reason", "status", "attempt", "session_id", "error", "board", "firmware", "why"]),
                st.one_of(st.none(), st.integers(), st.floats(), st.just(HOSTILE), st.text(max_size=20)),
            ),
        ),
        max_size=30,
    )
)
def test_no_event_breaks_it_or_reaches_a_reader_raw(events: list[tuple[str, str, dict[str, Any]]]) -> None:
    keeper = StatusKeeper(CONFIG, Clock())
    for stage, name, data in events:
        keeper.saw(Observe(stage, name, data))
    text = "".join(line.text for line in summary(keeper.latest, keeper.latest.evses[0]).values())
    assert text.isprintable()
    assert len(msgspec.json.encode(keeper.latest)) < 10_000
    assert isinstance(keeper.latest, ChargerStatus)


def test_a_lost_frequency_and_what_follows_are_shown(keeper: StatusKeeper) -> None:
    for name, shown in (("frequency_lost", True), ("frequency_back", False)):
        saw(keeper, "power", name)
        assert keeper.latest.frequency_lost is shown
        assert ("none out: the grid's frequency is lost" in said(keeper, "power")) is shown


@pytest.mark.requirement("R192")
def test_the_current_of_each_phase_and_of_the_neutral_is_shown(keeper: StatusKeeper) -> None:
    assert "L1" not in said(keeper, "power")
    evse = keeper.latest.evses[0]
    stage = msgspec.structs.replace(evse.stage, line_ma=(16_000, 0, -2_500, 17_385))
    shown = summary(keeper.latest, msgspec.structs.replace(evse, stage=stage))["power"].text
    assert "(L1 16.0 A, L2 0.0 A, L3 -2.5 A, N 17.4 A)" in shown
