"""`v2g diag`: CAN, logs, and the machine. The kernel of the tests may lack AF_CAN: `ip` and the bus are stood in for
at their ports."""

import json
import socket
import threading
import tomllib
from importlib import metadata
from pathlib import Path

import can
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pki_tools.tree import PkiTree
from tests.cli.conftest import Run
from tests.io.can import LINK
from tests.io.tls.support import other_pki, serving
from tests.together import together
from v2g.io.network.tcp_info import TcpConnection
from v2g_cli.diag import spelled
from v2g_cli.diag.can import explain
from v2g_cli.diag.net import handshake, judge
from v2g_cli.diag.prereq import EXTRAS, Library, Machine, checks, fits

__all__ = ["other_pki"]

ROOT = Path(__file__).resolve().parent.parent.parent
PACK = "(1700000000.000000) can0 100#A00F9CFF8813C805\n"
LOG = PACK + (
    "(1700000000.100000) can0 7DF#02010C\n"
    "(1700000000.200000) can0 101##1" + "FA00" * 4 + "\n"
    "(1700000000.300000) can0 20000040#0000000000000000\n"
)


@pytest.fixture
def fake_ip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an `ip` first in the path that answers as for a real interface; return the file with its answer."""
    answer, program = tmp_path / "answer.json", tmp_path / "ip"
    answer.write_text(json.dumps([LINK]))
    program.write_text(f"#!/bin/sh\ncat {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return answer


@pytest.mark.requirement("R61", "R69")
def test_an_interface_with_another_bit_rate_is_named_with_the_remedy(v2g: Run, fake_ip: Path) -> None:
    done = v2g("diag", "can", "can0", "--seconds", "0")
    assert done.code == 1
    assert "can0: 250000 bit/s, data 2000000 bit/s, ERROR-PASSIVE" in done.output
    assert "can0: bit rate 250000, expected 500000" in done.output
    assert "ip link set can0 down; ip link set can0 up type can bitrate 500000" in done.output
    fake_ip.write_text(fake_ip.read_text().replace("250000", "500000").replace("ERROR-PASSIVE", "ERROR-ACTIVE"))
    done = v2g("diag", "can", "can0", "--seconds", "0", "--json")
    assert done.code == 0
    assert json.loads(done.output)["link"]["bitrate"] == 500_000
    assert v2g("diag", "can", "can0", "--seconds", "0", "--bitrate", "250000").code == 1


@pytest.mark.requirement("R61", "R70")
def test_short_forms_of_v2g_diag() -> None:
    assert spelled(["can0"]) == ["can", "can0"]
    assert spelled(["vcan12", "--json"]) == ["can", "vcan12", "--json"]
    assert spelled(["--inspect-payload", "can0"]) == ["can", "--inspect-payload", "can0"]
    assert spelled(["\u2013inspect-payload", "can0"]) == ["can", "--inspect-payload", "can0"]
    assert spelled(["plc", "--interface", "eth1"]) == ["plc", "--interface", "eth1"]
    assert spelled([]) == []


@pytest.mark.requirement("R63", "R70")
def test_a_recording_is_shown_raw_decoded_and_with_the_bits_that_no_signal_covers(v2g: Run, tmp_path: Path) -> None:
    log = tmp_path / "drive.log"
    log.write_text(LOG)
    done = v2g("diag", "can", "--from", str(log), "--inspect-payload")
    assert done.errors == ""
    lines = [line.split("\t") for line in done.output.splitlines()]
    assert done.code == 1, "bus-off"
    assert lines[0][1:3] == ["100", "a00f9cff8813c805"]
    assert json.loads(lines[0][3]) == {
        "battery.voltage": 400.0, "battery.current": -10.0, "battery.soc": 50.0, "battery.soh": 100.0
    }  # fmt: skip
    assert lines[0][4] == "00000000000000ff", "the alive counter is not mapped"
    assert lines[1][3:] == ["{}", "ffffff"]
    assert lines[3][3] == "error frame"
    assert "3 frames in 0.3 s" in done.output
    assert "1 error frames, 1 of unknown ids, 0 malformed" in done.output
    assert "bus_off: more than 255 errors" in done.output


def test_frames_that_are_not_decoded_are_named(v2g: Run, tmp_path: Path) -> None:
    """One is too short, one has the number of a message in an identifier of 29 bits."""
    log = tmp_path / "drive.log"
    log.write_text(PACK + "(1700000000.1) can0 100#A0\n" + PACK.replace(" 100#", " 00000100#"))
    done = v2g("diag", "can", "--from", str(log))
    assert "00000100\tunknown\t1" in done.output
    assert "1 of unknown ids, 1 malformed" in done.output
    assert "BMS_Pack: 1 times with fewer octets than in the DBC, not decoded" in done.output


@pytest.mark.requirement("R197")
@pytest.mark.parametrize(
    ("broken", "frames", "place"),
    [
        (LOG.encode() + b"(17000000", 3, "line 5"),
        (b"no frame\n" + LOG.encode(), 3, "line 1"),
        (b"\0" * 600 + b"\n\xff\xfe\n" + LOG.encode(), 3, "line 2"),
        (b"", 0, "no frame in it"),
        (b"\0" * 600, 0, "line 1"),
    ],
)
def test_a_damaged_recording_is_shown_as_far_as_it_can_be_read(
    broken: bytes, frames: int, place: str, v2g: Run, tmp_path: Path
) -> None:
    (tmp_path / "drive.log").write_bytes(broken)
    done = v2g("diag", "can", "--from", str(tmp_path / "drive.log"))
    assert done.code == 3
    assert f"{frames} frames in" in done.output
    assert place in done.errors
    assert "Traceback" not in done.errors


@pytest.mark.requirement("R70")
def test_json_has_the_same_and_a_mapping_of_ones_own_applies(v2g: Run, tmp_path: Path) -> None:
    (tmp_path / "drive.log").write_text(PACK)
    (tmp_path / "make.dbc").write_text(
        'VERSION ""\nNS_ :\nBS_:\nBU_: B\nBO_ 256 Pack: 8 B\n SG_ U : 0|16@1+ (0.1,0) [0|1000] "V" B\n'
    )
    (tmp_path / "make.yaml").write_text("dbc: make.dbc\nsignals:\n  Pack.U: battery.voltage\n")
    arguments = ("diag", "can", "--from", str(tmp_path / "drive.log"), "--mapping", str(tmp_path / "make.yaml"))
    done = v2g(*arguments, "--inspect-payload", "--json")
    frame, summary = map(json.loads, done.output.splitlines())
    assert done.code == 0
    assert (frame["message"], frame["signals"]) == ("Pack", {"battery.voltage": 400.0})
    assert frame["uncovered"] == "0000ffffffffffff"
    assert (summary["frames"], summary["error_frames"], summary["faults"]) == (1, 0, [])
    assert v2g(*arguments).output.splitlines()[0].split("\t") == [
        "100", "Pack", "1", "", "a00f9cff8813c805", "0000ffffffffffff"
    ]  # fmt: skip


def test_the_load_of_a_bus_counts_bits_without_stuffing(v2g: Run, tmp_path: Path) -> None:
    """4,001 frames of 111 bits within a second, at 500 kbit/s."""
    log = tmp_path / "full.log"
    log.write_text("".join(f"({1_700_000_000 + n / 4000:.6f}) can0 100#A00F9CFF8813C805\n" for n in range(4001)))
    done = v2g("diag", "can", "--from", str(log), "--json")
    assert json.loads(done.output)["least_load_percent"] == 88.8


@pytest.mark.requirement("R62", "R70")
def test_a_live_bus_is_shown(v2g: Run) -> None:
    frame = can.Message(arbitration_id=0x100, data=bytes.fromhex("a00f9cff8813c805"), is_extended_id=False)
    with can.Bus(interface="virtual", channel="diag") as bus:
        sending = bus.send_periodic(frame, 0.01)
        done = v2g("diag", "can", "diag", "--interface", "virtual", "--inspect-payload", "--seconds", "0.3")
        sending.stop()
    assert done.code == 0
    assert '"battery.voltage":400.0' in done.output


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("no_such_can0",), 7),
        (("x", "--interface", "nothing"), 7),
        (("--from", "missing.log"), 2),
        (("--from", "/dev/null"), 2),
        (("--mapping", "missing.yaml"), 2),
    ],
)
def test_what_cannot_be_read_is_one_line(v2g: Run, arguments: tuple[str, ...], code: int) -> None:
    done = v2g("diag", "can", *arguments)
    assert done.code == code
    assert done.errors.startswith("v2g: ")


KERN = """\
Nov 21 20:52:56 box kernel: [  101.2] mcp251x spi0.0 can0: bus-off
Nov 21 20:52:57 box kernel: [  102.2] mcp251x spi0.0 can0: bus-off
Nov 21 20:53:00 box v2g: ERROR 0x1A4 ISO15118_MSG_TIMEOUT \x1b[31mSessionSetupRes
Nov 21 20:53:01 box v2g: 0x2B9 UNSUPPORTED_SCHEMA_VERSION 'v2g-telemetry/9'
Nov 21 20:53:02 box kernel: usb 1-1: new device at 0x1A40
"""


@pytest.mark.requirement("R69")
def test_bus_off_and_error_codes_in_a_log_are_explained(v2g: Run, tmp_path: Path) -> None:
    log = tmp_path / "kern.log"
    log.write_text(KERN)
    done = v2g("diag", "log", str(log))
    assert done.code == 1
    assert "line 1: can0: bus_off, 2 times" in done.output
    assert "another bit rate, a short circuit" in done.output
    assert "line 3: 0x1A4 ISO15118_MSG_TIMEOUT" in done.output
    assert "\x1b" not in done.output
    found = [json.loads(line) for line in v2g("diag", "log", "--json", given=KERN.encode()).output.splitlines()]
    assert [(each["code"], each["line"], each["count"]) for each in found] == [
        ("can0: bus_off", 1, 2), ("0x1A4 ISO15118_MSG_TIMEOUT", 3, 1), ("0x2B9 UNSUPPORTED_SCHEMA_VERSION", 4, 1)
    ]  # fmt: skip
    assert v2g("diag", "log", given=b"all is well\n\xff").code == 0
    assert v2g("diag", "log", str(tmp_path / "missing.log")).code == 2


@given(st.text(max_size=300))
def test_any_log_is_explained_or_not(text: str) -> None:
    assert len(explain(text.splitlines())) <= len(text)


LIBRARIES = (Library("msgspec", ">=0.20", "0.20.0"), Library("numpy", ">=2", "2.1", "csms"))
GOOD = {"can": True, "ip": True, "tls": "3.5.1", "clock": True, "libraries": LIBRARIES}
NEW = Machine("6.1.0-13-amd64", (3, 12, 1), (3, 0, 11), 1 << 13, **GOOD)
OLD_LIBRARIES = (
    Library("msgspec", ">=0.20", "0.19.9"),
    Library("websockets", "<18,>=14", "18.0"),
    Library("typer", ">=0.12", ""),
    Library("numpy", ">=2", "1.26", "csms"),
)


@pytest.mark.requirement("R90", "R165")
@together(
    ("machine", "missing"),
    [
        (NEW, {"CAP_NET_ADMIN"}),
        (Machine("5.15.0", (3, 11, 0), (3, 0, 0), 3 << 12, **GOOD), set()),
        (Machine("5.14.99", (3, 10, 9), (1, 1, 1), 0, can=False, ip=False, tls="1.1.1", libraries=OLD_LIBRARIES),
         {"Linux", "Python", "OpenSSL", "OpenSSL of cryptography", "msgspec", "websockets", "typer", "extra csms",
          "clock synchronised", "CAP_NET_ADMIN", "CAP_NET_RAW", "AF_CAN", "ip"}),
        (Machine("unknown", (3, 11, 0), (3, 0, 0), 3 << 12, **GOOD), {"Linux"}),
        (Machine("6.1", (3, 11, 0), (3, 0, 0), 3 << 12, **{**GOOD, "clock": False}), {"clock synchronised"}),
        (Machine("6.1", (3, 11, 0), (3, 0, 0), 3 << 12, **{**GOOD, "tls": ""}), {"OpenSSL of cryptography"}),
    ],
)  # fmt: skip
def test_prerequisites(machine: Machine, missing: set[str]) -> None:
    found = list(checks(machine))
    assert {each.name for each in found if not each.met} == missing
    assert all(each.hint for each in found if not each.met)
    required = {each.name for each in machine.libraries if not each.extra}
    required |= {"Linux", "Python", "OpenSSL", "OpenSSL of cryptography"}
    assert {each.name for each in found if each.required} == required


RELEASES = st.lists(st.integers(0, 30), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))


@pytest.mark.requirement("R165")
@given(RELEASES, st.lists(st.tuples(st.sampled_from([">=", "<", "<=", ">", "==", "!="]), RELEASES), max_size=3))
def test_versions_are_compared_as_packaging_does(version: str, bounds: list[tuple[str, str]]) -> None:
    specifier = ",".join(map("".join, bounds))
    assert fits(version, specifier) == SpecifierSet(specifier).contains(version)


@pytest.mark.requirement("R165")
def test_every_library_of_the_distribution_is_checked(v2g: Run) -> None:
    demanded = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {Requirement(each).name.lower() for each in demanded["dependencies"]}
    found = {each["name"]: each for each in map(json.loads, v2g("diag", "prereq", "--json").output.splitlines())}
    assert wanted <= set(found)
    assert all(found[name]["found"] == metadata.version(name) and found[name]["met"] for name in wanted)
    assert {f"extra {name}" for name in EXTRAS} <= set(found)
    assert set(EXTRAS) == set(demanded["optional-dependencies"]) - {"all", "dev", "docs", "fuzz", "release"}
    assert found["Python"]["needed"] in demanded["requires-python"]


@pytest.mark.requirement("R90")
def test_this_machine_is_checked(v2g: Run) -> None:
    done = v2g("diag", "prereq", "--json")
    found = {each["name"]: each for each in map(json.loads, done.output.splitlines())}
    assert done.code == (0 if all(each["met"] for each in found.values() if each["required"]) else 1)
    assert found["Python"]["met"]
    assert v2g("diag", "prereq").output.startswith("Linux\t")


LINE = TcpConnection(
    local="10.0.0.1", local_port=40000, remote="10.0.0.2", remote_port=8883, mss=1448, rtt_us=50_000,
    least_rtt_us=40_000,
    congestion_window=1_000_000, peer_window=1_000_000, receive_window=1_000_000, unacked=0, retransmitted=0,
    sent_bytes=1_000_000, retransmitted_bytes=0, waiting=0,
)  # fmt: skip


@pytest.mark.requirement("R89")
@together(
    ("change", "mbit_s", "complaint"),
    [
        ({}, 10, ""),
        ({"peer_window": 62_499}, 10, "the peer's window of 62499 octets is below 62500"),
        ({"peer_window": 62_500}, 10, ""),
        ({"peer_window": None}, 10, ""),
        ({"receive_window": 60_000}, 10, "our window of 60000"),
        ({"congestion_window": 14_480}, 10, ""),
        ({"congestion_window": 14_480, "retransmitted": 3}, 10, "losses keep the congestion window"),
        ({"retransmitted_bytes": 10_000}, 10, "1.0 % of the octets"),
        ({}, 200, "the peer's window of 1000000 octets is below 1250000"),
    ],
)
def test_a_window_below_bandwidth_times_round_trip_is_named(
    change: dict[str, int | None], mbit_s: float, complaint: str
) -> None:
    found = judge(msgspec.structs.replace(LINE, **change), mbit_s).complaints
    assert complaint in "; ".join(found)
    assert bool(found) is bool(complaint)


@pytest.mark.requirement("R89", "R90")
def test_connections_of_this_machine_are_listed(v2g: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        port = server.getsockname()[1]
        lines = v2g("diag", "net", "--port", str(port), "--mbit-s", "0.001").output.splitlines()
        assert sorted(line.split("\t")[0] == f"127.0.0.1 {port}" for line in lines) == [False, True]
        done = v2g("diag", "net", "--port", str(port), "--mbit-s", "0.001", "--json")
        assert [json.loads(line)["complaints"] for line in done.output.splitlines()] == [[], []]
    assert v2g("diag", "net", "--raw", "--interface", "no_such_interface").code == 7


@pytest.fixture
def vehicle(pki: PkiTree, tmp_path: Path) -> Path:
    """Return a vehicle's configuration that anchors at the tree's V2G root."""
    config = tmp_path / "evcc.toml"
    config.write_text(
        f'[tls]\nchain = "{pki.path("vehicle/chain.pem")}"\nkey = "{pki.path("vehicle/leaf.key")}"\n'
        f'anchors = ["{pki.path("v2g/root.pem")}"]\ntimeout_s = 5\n'
    )
    config.chmod(0o600)
    return config


async def test_a_charger_that_is_trusted_is_connected_and_one_of_another_root_named(
    pki: PkiTree, other_pki: PkiTree, vehicle: Path
) -> None:
    async with serving(pki) as server:
        found = await handshake("::1", server.port, vehicle)
        assert (found.error, found.reason) == ("", "")
        assert found.peer
    async with serving(other_pki) as server:
        found = await handshake("::1", server.port, vehicle)
        assert found.reason == "unknown_ca"
        assert found.error


def test_why_no_handshake_came_about(v2g: Run, vehicle: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = str(server.getsockname()[1])

        def answer() -> None:
            accepted, _ = server.accept()
            accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            accepted.recv(65536)
            accepted.close()

        thread = threading.Thread(target=answer)
        thread.start()
        done = v2g("diag", "tls", "::1", port, "--config", str(vehicle))
        thread.join()
    assert done.code == 7
    assert done.output.startswith("not_tls: ")
    done = v2g("diag", "tls", "::1", port, "--config", str(vehicle), "--json")
    assert done.code == 7
    assert json.loads(done.output)["reason"] == "unreachable"
    assert v2g("diag", "tls", "::1", "1", "--config", "missing.toml").code == 2
