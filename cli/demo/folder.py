"""The folder of one run: certificates, the three configurations, and everything the programs write."""

import hashlib
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from cli.demo.scenarios import Scenario
from pki_tools.tree import PkiOptions, PkiTree, make_pki
from v2g.grid.tariff import GridSignal, SignalSlot
from v2g.slac.timing import FAST

QUARTER_MS: Final = 900_000
EVCC_ID: Final = "WMIV2GENGINE0000001X"
EMAID: Final = "DEV2GC00000001"
STATION: Final = "CS-V2G-0001"
PSEUDONYM: Final = "ev-7f3a"
EXPORT_LIMIT_W: Final = 20_000
LOWERED_LIMIT_W: Final = 6_000
REACTION_S: Final = 0.25
"""Real time that the charger's computer may take to follow a lower limit; it is much simulated time."""

LOOP_TOLERANCE_S: Final = 2.0
"""A busy machine may hold the vehicle's process up for longer than a vehicle's computer ever would."""

COMMAND_MS: Final = QUARTER_MS
"""How long a signed command holds. Simulated time runs fast: a quarter of an hour is seconds of the demo."""


@dataclass
class RunFolder:
    """Paths and secrets of a run. `scale` is simulated seconds per second."""

    path: Path
    scenario: Scenario
    scale: float
    pki: PkiTree = field(init=False)
    mqtt_port: int | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    origin_monotonic: float = field(default_factory=time.monotonic)
    origin_utc_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def prepare(self) -> None:
        """Make the folder and its certificates."""
        self.path.mkdir(parents=True, mode=0o700)
        options = PkiOptions(
            evcc_id=EVCC_ID,
            emaid=EMAID,
            station_id=STATION,
            gateway_id=PSEUDONYM,
            secc=self.scenario.secc,
            vehicle=self.scenario.vehicle,
            contract=self.scenario.contract,
        )
        self.pki = make_pki(self.path / "pki", now=datetime.now(UTC), options=options)
        self.write("grid.json", self.signal(1, EXPORT_LIMIT_W).to_json().decode())

    def write(self, name: str, text: str) -> Path:
        """Write a file that only its owner may read."""
        path = self.path / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def utc_ms(self) -> int:
        """Return the simulated time."""
        return self.origin_utc_ms + int((time.monotonic() - self.origin_monotonic) * self.scale * 1000)

    def signal(self, version: int, export_limit_w: int) -> GridSignal:
        """Return a grid signal for six hours: prices change every quarter of an hour, dear and cheap in turn."""
        start = self.origin_utc_ms - self.origin_utc_ms % QUARTER_MS
        prices = ((280_000, 120_000), (310_000, 340_000), (350_000, 420_000), (300_000, 250_000))
        slots = tuple(
            SignalSlot(
                start_ms=start + number * QUARTER_MS,
                duration_s=QUARTER_MS // 1000,
                import_price=prices[number % 4][0],
                export_compensation=prices[number % 4][1],
            )
            for number in range(24)
        )
        return GridSignal(
            version=version,
            issued_at_ms=self.utc_ms(),
            source="demo-dso",
            currency="EUR",
            slots=slots,
            site_import_limit_w=60_000,
            export_limit_w=export_limit_w,
            valid_until_ms=start + 24 * QUARTER_MS,
        )

    def _clock(self) -> str:
        return (
            f"[clock]\nscale = {self.scale}\norigin_monotonic = {self.origin_monotonic}\n"
            f"origin_utc_ms = {self.origin_utc_ms}\n"
        )

    def csms_config(self, *, ocpp_port: int = 0, api_port: int = 0) -> Path:
        """Write csms.toml; a restarted back end listens where it did before."""
        digest = hashlib.sha256(self.token.encode()).hexdigest()
        mqtt = (
            f"""
[mqtt]
host = "127.0.0.1"
port = {self.mqtt_port}
client_id = "csms"
ca = "pki/csms/root.pem"
chain = "pki/csms/ingest/chain.pem"
key = "pki/csms/ingest/leaf.key"
"""
            if self.mqtt_port
            else ""
        )
        return self.write(
            "csms.toml",
            f"""data_dir = "csms"

[ocpp]
port = {ocpp_port}
certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
client_roots = ["pki/csms/root.pem"]
subprotocols = [{", ".join(f'"{each}"' for each in self.scenario.ocpp)}]

[api]
port = {api_port}
certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
client_roots = ["pki/csms/root.pem"]

[[api.tokens]]
name = "grid operator"
role = "grid_operator"
sha256 = "{digest}"

[[api.clients]]
common_name = "{PSEUDONYM}"

[trust]
roots = ["pki/mo/root.pem", "pki/v2g/root.pem"]

[[stations]]
id = "{STATION}"

[[tokens]]
id_token = "{EMAID}"

[grid]
signal_file = "grid.json"
{mqtt}
{self._clock()}""",
        )

    def _slac(self, section: str) -> str:
        """Return the shortened timing of a simulated powerline."""
        lines = "\n".join(f"{name} = {value}" for name, value in msgspec.to_builtins(FAST).items())
        return f"[{section}.slac.timing]\n{lines}\n"

    def secc_config(self, *, ocpp_port: int, sdp_port: int) -> Path:
        """Write secc.toml."""
        return self.write(
            "secc.toml",
            f"""data_dir = "secc"

[link]
medium = "medium"

{self._slac("link")}
[sdp]
port = {sdp_port}

[tls]
chain = "pki/secc/chain.pem"
key = "pki/secc/leaf.key"
ocsp = "pki/secc/ocsp.der"
v2g_roots = ["pki/v2g/root.pem"]
oem_roots = ["pki/oem/root.pem"]
mo_roots = ["pki/mo/root.pem"]

[meter]
chain = "pki/meter/chain.pem"
key = "pki/meter/leaf.key"

[station]
url = "wss://127.0.0.1:{ocpp_port}/ocpp"
identity = "{STATION}"
store = "secc/station.sqlite3"

[station.tls]
ca = "pki/csms/root.pem"
chain = "pki/csms/station/chain.pem"
key = "pki/csms/station/leaf.key"

[charger]
reaction_ms = {int(REACTION_S * 1000 * self.scale)}

[charger.timing]
secc_loop_tolerance = {LOOP_TOLERANCE_S}

[charger.signed_discharge.terms]
max_command_validity_ms = {COMMAND_MS}

{self._clock()}""",
        )

    def _uplink(self, api_port: int) -> str:
        """Return where telemetry goes: to the broker, or to the back end where there is none."""
        where = (
            f'[telemetry.mqtt]\nhost = "127.0.0.1"\nport = {self.mqtt_port}\nclient_id = "{PSEUDONYM}"'
            if self.mqtt_port
            else f'[telemetry.http]\nurl = "https://127.0.0.1:{api_port}/telemetry"'
        )
        return f"""{where}
ca = "pki/csms/root.pem"
chain = "pki/csms/gateway/chain.pem"
key = "pki/csms/gateway/leaf.key"
"""

    def evcc_config(self, *, sdp_port: int, api_port: int) -> Path:
        """Write evcc.toml."""
        return self.write(
            "evcc.toml",
            f"""[vehicle]
evcc_id = "{EVCC_ID}"

[link]
medium = "medium"

{self._slac("link")}
[sdp]
port = {sdp_port}

[tls]
chain = "pki/vehicle/chain.pem"
key = "pki/vehicle/leaf.key"
anchors = ["pki/v2g/root.pem"]

[contract]
chain = "pki/contract/chain.pem"
key = "pki/contract/leaf.key"

[battery]
capacity_wh = 60000
soc = 55.0

[needs]
departure_after_s = 21600
target_soc = 70
minimum_soc = 30

[discharge]
minimum_compensation = 0.10
minimum_soc = 40
max_power_w = 10000
command_validity_ms = {COMMAND_MS}
command_renew_ms = {COMMAND_MS // 3}
clock_skew_ms = 60000

[[program]]
do = "charge"
for_s = 1200

[[program]]
do = "discharge"
for_s = 2100

[telemetry]
ev = "{PSEUDONYM}"
outbox = "telemetry.sqlite3"

{self._uplink(api_port)}
{self._clock()}""",
        )
