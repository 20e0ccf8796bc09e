"""A real mosquitto for the demo and the tests: TLS 1.3, client certificates, a free port, its own folder.

Its setup is that of docs/how-to/set-up-a-telemetry-broker.md. A certificate's common name is user name and client
id, so that no client can displace another; each vehicle reaches only its own topics.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pki_tools.tree import PkiTree
from v2g.errors import TransportError
from v2g_cli.demo.processes import free_port

LISTENER: Final = """\
listener {port}{address}
cafile {ca}
certfile {chain}
keyfile {key}
tls_version tlsv1.3
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {acl}
max_packet_size 262144
"""
"""Configuration of a broker for telemetry."""

ACL: Final = """\
user csms-ingest
topic read v2g/telemetry/vehicle/+/records
topic readwrite v2g/telemetry/slot/+/vehicle/+/records
topic write v2g/telemetry/vehicle/+/marks
topic write v2g/telemetry/stream

user telemetry-reader
topic read v2g/telemetry/stream
topic read v2g/telemetry/vehicle/+/status

pattern write v2g/telemetry/vehicle/%u/records
pattern write v2g/telemetry/slot/+/vehicle/%u/records
pattern write v2g/telemetry/vehicle/%u/status
pattern read v2g/telemetry/vehicle/%u/marks
"""
"""Access rights: the back end, a reader of the stream, and each vehicle."""

MQTT_5_ONLY: Final = "accept_protocol_versions 5\n"
"""Configuration, after the listener, that refuses older clients; mosquitto 2.0 does not know it."""

_REST = """\
persistence false
log_dest file {log}
{user}
"""


def find_mosquitto() -> str | None:
    """Return the broker's executable, also from directories outside a user's PATH."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@dataclass
class Broker:
    """A running broker."""

    program: str
    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    def again(self) -> "Broker":
        """Start it again with the same configuration; return when it accepts connections. Raises TransportError."""
        return launch(self.program, self.folder, self.port)

    def stop(self) -> None:
        """Stop it and wait."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_broker(
    program: str, folder: Path, pki: PkiTree, *, ca: Path | None = None, crl: Path | None = None
) -> Broker:
    """Start mosquitto in `folder` (created if missing) and return when it accepts connections, at a free port.

    Its certificate is that of `pki`; `ca` has the roots of its clients, by default the back end's; `crl` their
    revocation lists, PEM.
    Raises TransportError with its log when it does not start within five seconds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, acl, config = folder / "mosquitto.log", folder / "acl", folder / "mosquitto.conf"
    # started as root it would switch to a user that cannot read a key of mode 0600
    user = "user root" if os.geteuid() == 0 else ""
    acl.write_text(ACL)
    acl.chmod(0o600)
    port = free_port()
    listener = LISTENER.format(
        port=port,
        address=" 127.0.0.1",
        ca=ca or pki.path("csms/root.pem"),
        chain=pki.path("csms/broker/chain.pem"),
        key=pki.path("csms/broker/leaf.key"),
        acl=acl,
    )
    if crl is not None:
        listener += f"crlfile {crl}\n"
    # the broker's version, which it prints with its usage
    usage = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"version (\d+)\.(\d+)", usage)
    if (tuple(map(int, found.groups())) if found else ()) >= (2, 1):
        listener += MQTT_5_ONLY
    config.write_text(listener + _REST.format(log=log, user=user))
    return launch(program, folder, port)


def launch(program: str, folder: Path, port: int) -> Broker:
    """Start mosquitto with `mosquitto.conf` in `folder` and return when it accepts connections at `port`.

    Raises TransportError with its log when it does not start within five seconds.
    """
    log, config = folder / "mosquitto.log", folder / "mosquitto.conf"
    with (folder / "mosquitto.out").open("ab") as output:
        process = subprocess.Popen([program, "-c", str(config)], stdout=output, stderr=output, start_new_session=True)
    deadline = time.monotonic() + 5
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
        except OSError:
            time.sleep(0.01)
        else:
            return Broker(program, folder, port, process)
    process.kill()
    process.wait()
    raise TransportError(f"mosquitto did not start on port {port}", hint=f"see {log} and {folder / 'mosquitto.out'}")
