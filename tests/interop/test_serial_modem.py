"""Our charger and vehicle over serial modems: SLAC, SDP, TLS and a whole session through a UART and a TAP interface.

Each program runs in a network namespace of its own with nothing but its TAP interface, and owns one end of a serial
cable. Behind each port stands a simulated modem; pilot and DC line go over a folder.
"""

import contextlib
import os
import select
import subprocess
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pki_tools.tree import DEFAULTS, PkiTree
from tests.interop.cable import missing
from tests.interop.programs import ended, named, program, ready, tail
from tests.io.capture.pcapng import tshark
from tests.secc_toml import identity
from v2g.io.capture import recorder
from v2g.slac.shared import FAST
from v2g_cli.demo.processes import Program

pytestmark = [pytest.mark.one_worker("cable"), pytest.mark.interop]

INTERFACE = "plc0"


class SerialCable:
    """Two pseudo-terminals with a thread between them; `garbage` is what the line says before anybody else does."""

    def __init__(self, garbage: bytes = b"") -> None:
        self._masters, self._slaves = [], []
        for _ in range(2):
            master, slave = os.openpty()
            tty.setraw(slave)
            self._masters.append(master)
            self._slaves.append(slave)
        self.devices = [os.ttyname(slave) for slave in self._slaves]
        self._garbage = garbage
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        first, second = self._masters
        for master in self._masters:
            os.write(master, self._garbage)
        while True:
            readable, _, _ = select.select([first, second, self._stop], [], [])
            if self._stop in readable:
                return
            for master in readable:
                with contextlib.suppress(OSError):
                    os.write(second if master == first else first, os.read(master, 512))

    def close(self) -> None:
        os.write(self._stopped, b"x")
        self._thread.join()
        for fd in (*self._masters, *self._slaves, self._stop, self._stopped):
            os.close(fd)


@pytest.fixture
def namespaces() -> Iterator[tuple[str, str]]:
    """Two empty namespaces, in which addresses can be used without the test for duplicates."""
    if reason := missing():
        pytest.skip(reason)
    if not Path("/dev/net/tun").exists():
        pytest.skip("the kernel has no TUN/TAP device")
    names = (f"v2g-ser-s-{os.getpid()}", f"v2g-ser-e-{os.getpid()}")
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
        for scope in ("all", "default"):
            quick = ["sysctl", "-qw", f"net.ipv6.conf.{scope}.accept_dad=0"]
            subprocess.run(["ip", "netns", "exec", name, *quick], check=False)
    yield names
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=True)


def _timing() -> str:
    return "\n".join(f"{name} = {value}" for name, value in msgspec.to_builtins(FAST).items())


def _link(name: str, device: str, extra: str) -> str:
    return f"""
[link]
interface = "{INTERFACE}"
medium = "medium"

[link.record]
file = "{name}.pcapng"

[link.plc]
backend = "serial"
device = "{device}"
simulated_modem = true
tap = "{INTERFACE}"
{extra}

[link.slac.timing]
{_timing()}
"""


def _charger(folder: Path, namespace: str, device: str, pki: PkiTree) -> Program:
    config = f"""data_dir = "secc"
{_link("secc", device, "")}
{identity(pki, "v2g", "oem", "mo", ocsp=True)}

[site]
contracts = ["{DEFAULTS.emaid}"]

[charger.timing]
secc_loop_tolerance = 4.5
"""
    return program("secc", folder, namespace, config)


def _vehicle(folder: Path, namespace: str, device: str, pki: PkiTree, extra: str) -> Program:
    config = f"""
{_link("evcc", device, extra)}
[vehicle]
evcc_id = "{DEFAULTS.evcc_id}"

[tls]
chain = "{pki.path("vehicle/chain.pem")}"
key = "{pki.path("vehicle/leaf.key")}"
anchors = ["{pki.path("v2g/root.pem")}"]
key_log = "keys.log"

[contract]
chain = "{pki.path("contract/chain.pem")}"
key = "{pki.path("contract/leaf.key")}"

[[program]]
do = "charge"
for_s = 1
"""
    return program("evcc", folder, namespace, config)


WEATHER = "[link.plc.impairment]\nseed = 4\nloss = 0.02\nduplicate = 0.02\ndelay_ms = 2.0\njitter_ms = 3.0"


@pytest.mark.long
@pytest.mark.parametrize("extra", [pytest.param("", id="clean"), pytest.param(WEATHER, id="bad line")])
def test_a_session_over_serial_modems(namespaces: tuple[str, str], pki: PkiTree, tmp_path: Path, extra: str) -> None:
    noise = b"\xaa\xaa\xaa\xaa\xff\x02\x00\x00" + bytes(range(256)) + b"\xaa\xaa\xaa\x55\x55"
    cable = SerialCable(noise)
    secc = _charger(tmp_path, namespaces[0], cable.devices[0], pki)
    evcc = _vehicle(tmp_path, namespaces[1], cable.devices[1], pki, extra)
    charging = ready(secc)
    try:
        evcc.start()
        code = ended(evcc)
    finally:
        secc.stop()
        cable.close()
    charging += secc.events.read()
    driving = [*evcc.events.read()]
    for each in (secc, evcc):
        assert "Traceback" not in each.log.read_text(), tail(each)
    assert secc.exit_code == 0, tail(secc)
    (found,) = named(driving, "sdp", "found") or [{"host": ""}]
    if extra:
        # On a bad line a session completes, or ends for a reason that has a name.
        assert code in (0, 3, 6, 7), tail(evcc)
    else:
        assert code == 0, tail(evcc)
        assert found["host"].startswith("fe80::")
        assert found["host"].endswith(f"%{INTERFACE}")
        assert named(driving, "link", "matched")
        assert named(charging, "session", "session_ended")[0]["reason"] == "vehicle"
        assert max(event["power_w"] for event in named(charging, "loop", "response")) > 0
        _judge_secrets(tmp_path / "evcc.pcapng")
    _judge_recording(tmp_path / "secc.pcapng")


def _judge_recording(path: Path) -> None:
    """Wireshark sees both kinds of frames on the port: management messages, and IPv6 with SDP and TLS."""
    kinds = {packet.data[12:14] for packet in recorder.packets(path)}
    assert kinds == {b"\x88\xe1", b"\x86\xdd"}
    assert tshark(path, "-Y", "udp.port == 15118"), "SDP"
    assert tshark(path, "-Y", "homeplug_av.mmhdr.mmtype == 0x607c"), "CM_SLAC_MATCH.REQ"


def _judge_secrets(path: Path) -> None:
    """The vehicle kept a key log: Wireshark reads V2GTP by the secrets in the same file."""
    followed = "".join(line.strip() for line in tshark(path, "-q", "-z", "follow,tls,raw,0"))
    assert "01fe8001" in followed
    assert "01fe8002" in followed
