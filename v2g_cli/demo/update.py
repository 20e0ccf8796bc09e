"""Scenarios of `v2g demo` about updates over the air: simulated stations, a back end, a repository (R133 to R141).

The stations run the charger's own code for OCPP and updates; their slots are in memory. The maker's five people sign as
with `v2g ota`; a web server of the demo serves the repository, or what an attacker makes of it.
"""

import base64
import contextlib
import hashlib
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from pki_tools.tree import PkiTree, make_pki
from v2g.errors import TimeoutExpired, V2GError
from v2g.io.runtime.supervision import new_thread
from v2g.ota.release import TargetFacts
from v2g.pki.keys import SoftwareKey
from v2g.text import numbered
from v2g.typed_json import Fields
from v2g_cli.csms.client import Access, CsmsClient
from v2g_cli.demo.processes import Event, EventFile, Program, free_port, program, wait_for
from v2g_cli.demo.run import Check
from v2g_cli.demo.summary import Summary
from v2g_cli.demo.timeline import Timeline
from v2g_station.simulator.device import DELIVERED

HARDWARE: Final = "dc30"
NODE: Final = "csms-amd64"
"""What releases call the hardware of the back end's node."""
PEOPLE: Final = ("ada", "bob", "cem", "dag", "eve")
STATIONS: Final = 10
WATCH_S: Final = 4
"""How long an updated station is watched; in the field 15 minutes."""
CRASHES: Final = b"crashes 3\n"
"""The second line of an image that simulated stations do not survive for longer than 3 s."""
FLEET: Final = {"A-": 19, "B-": 19, "OFF-": 2}
"""Stations of a fleet by prefix: at one node, at the other, and offline."""
PATIENCE_S: Final = 300.0
POLL_S: Final = 0.2
_PIECE: Final = bytes(65_536)


_FOLLOWS: Final = f"""[update]
slots = "slots"
window = "00:00-00:00"
[update.releases]
root = "repository/metadata/1.root.json"
url = "{{url}}"
hardware = "{NODE}"
"""


class Maker:
    """A maker of firmware: of five people three sign a release."""

    def __init__(self, folder: Path) -> None:
        from v2g.io.ota.repository import Repository, RoleName

        self._folder = folder
        self.repository = Repository(folder / "repository")
        self._keys = {each: SoftwareKey(ec.generate_private_key(ec.SECP256R1())) for each in (*PEOPLE, "online")}
        people, online = [self._keys[each].public_key for each in PEOPLE], [self._keys["online"].public_key]
        keys: dict[RoleName, list[Any]] = {"root": people, "targets": people, "snapshot": online, "timestamp": online}
        self.repository.begin(keys, {"root": 3, "targets": 3}, datetime.now(UTC))
        authority, signer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        self._signer = signer
        (folder / "manufacturer.pem").write_text(_certificate("Maker", authority, authority))
        self._certificate = _certificate("Firmware", signer, authority)

    def release(self, name: str, number: int, image: bytes, *hardware: str) -> None:
        """List an image, signed by three of five, and publish."""
        file = self._folder / name
        file.write_bytes(image)
        facts = TargetFacts(number=number, hardware=hardware or (HARDWARE,))
        self.repository.add(file, name, facts, datetime.now(UTC))
        for person in PEOPLE[:3]:
            self.repository.sign(self._keys[person])
        self.publish()

    def publish(self, age: timedelta = timedelta()) -> None:
        """Publish as if it were some time ago."""
        online = self._keys["online"]
        self.repository.publish(online, online, datetime.now(UTC) - age)

    def list_by_two(self, name: str, number: int, image: bytes) -> None:
        """List an image as a thief of two people's keys, and of the keys on the server, does."""
        from tuf.api.metadata import Metadata, MetaFile, TargetFile

        from v2g.io.ota.repository import KeySigner

        folder = self.repository.folder
        (folder / "targets" / name).write_bytes(image)
        newest = {
            each.signed.type: each
            for each in self.repository.published()
            if each.signed.type in ("targets", "snapshot")
        }
        forged: Metadata[Any] = newest["targets"]
        target = TargetFile.from_data(name, image, ["sha256"])
        target.unrecognized_fields["custom"] = {"number": number, "hardware": [HARDWARE]}
        forged.signed.targets[name] = target
        forged.signed.version += 1
        forged.signatures.clear()
        for person in PEOPLE[:2]:
            forged.sign(KeySigner(self._keys[person]), append=True)
        self._write(f"{forged.signed.version}.targets.json", forged)
        snapshot: Metadata[Any] = newest["snapshot"]
        snapshot.signed.version += 1
        snapshot.signed.meta["targets.json"] = MetaFile.from_data(forged.signed.version, forged.to_bytes(), ["sha256"])
        snapshot.sign(KeySigner(self._keys["online"]))
        self._write(f"{snapshot.signed.version}.snapshot.json", snapshot)
        stamp: Metadata[Any] = Metadata.from_file(str(folder / "metadata" / "timestamp.json"))
        stamp.signed.version += 1
        stamp.signed.snapshot_meta = MetaFile(snapshot.signed.version)
        stamp.sign(KeySigner(self._keys["online"]))
        self._write("timestamp.json", stamp)

    def _write(self, name: str, metadata: Any) -> None:
        (self.repository.folder / "metadata" / name).write_bytes(metadata.to_bytes())

    def offer(self, url: str, image: bytes) -> dict[str, str]:
        """Return an image as the back end orders it: with the signature of OCPP (L01)."""
        signature = self._signer.sign(image, ec.ECDSA(hashes.SHA256()))
        return {
            "location": url,
            "signing_certificate": self._certificate,
            "signature": base64.b64encode(signature).decode(),
        }


def _certificate(name: str, key: ec.EllipticCurvePrivateKey, by: ec.EllipticCurvePrivateKey) -> str:
    now = datetime.now(UTC)
    subject, issuer = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, name if key is by else "Maker")
    )
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=30))
    builder = builder.add_extension(x509.BasicConstraints(ca=key is by, path_length=None), critical=True)
    return builder.sign(by, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


class WebServer:
    """Serves a folder on the loopback interface. `forged` are answers of an attacker by path; None never ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.forged: dict[str, bytes | None] = {}
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.answer(self)

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url: Final = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = new_thread(target=self._server.serve_forever, name="repository")
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        path = request.path.lstrip("/")
        file = (self.folder / path).resolve()
        if path in self.forged:
            body = self.forged[path]
        elif file.is_relative_to(self.folder.resolve()) and file.is_file():
            body = file.read_bytes()
        else:
            request.send_error(404)
            return
        request.send_response(200)
        if body is not None:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        with contextlib.suppress(OSError):  # the station has heard enough
            request.wfile.write(_PIECE if body is None else body)
            while body is None:
                request.wfile.write(_PIECE)

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@dataclass
class UpdateRun:
    """One run in one folder."""

    folder: Path
    timeline: Timeline
    stations: int
    password: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    events: list[Event] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    programs: list[Program] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the folder, the maker and its web server."""
        self.folder.mkdir(parents=True, mode=0o700)
        self.maker = Maker(self.folder)
        self.web = WebServer(self.maker.repository.folder)
        self.names = list(numbered("CS-", self.stations))

    def start(self, *, follows: bool = False) -> None:
        """Start the back end, which first updates itself if it `follows` releases, and stations. Raises V2GError."""
        pki = make_pki(self.folder / "pki", now=datetime.now(UTC))
        csms = program("csms", self.folder, self._csms_config(_FOLLOWS.format(url=self.web.url) if follows else ""))
        self.programs.append(csms)
        csms.start()
        ready = wait_for(csms, "ocpp", "ready", self.events, seconds=PATIENCE_S)
        if follows:
            self.until("the restart of the back end", lambda: csms.poll() is not None)
            csms.start()
            ready = wait_for(csms, "ocpp", "ready", self.events, seconds=PATIENCE_S)
        self._log_in(ready, pki)
        releases = (
            f'[releases]\nroot = "repository/metadata/1.root.json"\nurl = "{self.web.url}"\nhardware = "{HARDWARE}"\n'
        )
        self.start_stations("stations", "CS-", self.stations, ready, releases)

    def start_nodes(self) -> list[Event]:
        """Start two nodes of a back end, where Redis is installed, else one; return how they are ready."""
        pki, redis = make_pki(self.folder / "pki", now=datetime.now(UTC)), shutil.which("redis-server")
        common = f'store_url = "sqlite:///{self.folder}/csms.sqlite3"\nstore_key = "store.key"\n'
        self._write("store.key", secrets.token_hex(32))
        if redis is None:
            self.say("nodes", "redis-server is not installed: the back end has one node")
        else:
            port = free_port()
            config = self._write(
                "redis.conf", f'bind 127.0.0.1\nport {port}\nrequirepass {self.token}\nsave ""\ndir {self.folder}\n'
            )
            self._run("redis", [redis, str(config)])
            self.until("Redis listens", lambda: _listens(port))
            common += f'bus_url = "redis://:{self.token}@127.0.0.1:{port}"\n'
        nodes: list[Event] = []
        for name in ("csms-a", "csms-b")[: 1 if redis is None else 2]:
            node = program(name, self.folder, self._csms_config("", name, f'node = "{name}"\n{common}'), module="csms")
            self.programs.append(node)
            node.start()
            nodes.append(wait_for(node, "ocpp", "ready", self.events, seconds=PATIENCE_S))
        self._log_in(nodes[0], pki)
        return nodes

    def _log_in(self, ready: Event, pki: PkiTree) -> None:
        access = Access(
            url=f"https://127.0.0.1:{ready.data['api_port']}", token=self.token, ca=pki.path("csms/root.pem")
        )
        self._client = CsmsClient(access, PATIENCE_S)

    def start_stations(self, name: str, prefix: str, count: int, node: Event, releases: str = "") -> None:
        """Start stations at a node, and wait until they have connected."""
        known = len(self.versions())
        update = self._write(
            "update.toml",
            f'slots = "slots"\nwindow = "00:00-00:00"\nmanufacturer_roots = ["manufacturer.pem"]\n{releases}',
        )
        command = [sys.executable, "-m", "v2g_cli", "station", "--no-live", "--prefix", prefix, "--update", str(update)]
        command += ["--url", f"ws://127.0.0.1:{node.data['ocpp_port']}/ocpp", "--count", str(count)]
        os.environ["V2G_STATION_PASSWORD"] = self.password
        self._run(name, command)
        self.until("all stations have connected", lambda: len(self.versions()) == known + count)
        self.say("stations", f"{count} stations {prefix}* are connected, with firmware {DELIVERED}")

    def _run(self, name: str, command: list[str]) -> None:
        """Start a program without events."""
        started = Program(name, command, self.folder / f"{name}.log", EventFile(self.folder / "none"))
        self.programs.append(started)
        started.start()

    def _write(self, name: str, text: str) -> Path:
        """Write a file for this user alone."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    def _csms_config(self, update: str, name: str = "csms", node: str = "") -> Path:
        stations = "".join(f'[[stations]]\nid = "{each}"\npassword = "{self.password}"\n' for each in self.names)
        return self._write(
            f"{name}.toml",
            f"""data_dir = "{name}"
{node}[ocpp]
port = 0
security_profile = 1
[api]
port = 0
certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
[[api.tokens]]
name = "operator"
role = "admin"
sha256 = "{hashlib.sha256(self.token.encode()).hexdigest()}"
[trust]
roots = ["pki/mo/root.pem", "pki/v2g/root.pem"]
{update}{stations}""",
        )

    def stop(self) -> None:
        """End all programs, stations first."""
        for each in reversed(self.programs):
            each.stop()
        self.web.stop()
        self.read()

    # -- what is shown and checked

    def say(self, stage: str, words: str) -> None:
        """Show an action of the demo itself."""
        self.timeline.say(time.monotonic(), "demo", stage, words)

    def read(self) -> None:
        """Take the events that the back end has reported since."""
        for each in self.programs:
            for event in each.events.read():
                self.events.append(event)
                self.timeline.show(event)

    def check(self, name: str, passed: bool, evidence: object) -> None:
        """Note an expectation."""
        self.checks.append(Check(name, passed, str(evidence)))

    def until(self, what: str, done: Callable[[], object]) -> None:
        """Wait. Raises TimeoutExpired."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutExpired(what, PATIENCE_S, hint=f"see {self.folder}")
            self.read()
            time.sleep(POLL_S)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the back end, as an operator."""
        return self._client.ask(method, path, body).body

    def pages(self, path: str) -> list[Any]:
        """Return a list of the back end."""
        return list(self._client.pages(path, 1000))

    def versions(self) -> dict[str, str]:
        """Return the firmware that stations have reported."""
        return {each["station_id"]: each["firmware"] for each in self.pages("/stations") if each.get("firmware")}

    def image(self, name: str, content: bytes) -> dict[str, str]:
        """Return what the back end orders for an image of the repository."""
        return self.maker.offer(f"{self.web.url}/targets/{name}", content)

    def campaign(
        self,
        name: str,
        image: dict[str, str],
        rollback: dict[str, str],
        *,
        meanwhile: Callable[[list[str]], None] = lambda _: None,
        **more: object,
    ) -> Any:
        """Run a campaign to its end; return it, with its members. `meanwhile` gets their states, `more` is its plan."""
        plan = {"image": image, "rollback": rollback, "cohorts": [0.1, 0.3, 1.0], "daily": 1.0, "window": None}
        body = {"name": name, "plan": plan | {"watch_s": WATCH_S, "retries": 0} | more, "station_ids": self.names}
        path = f"/campaigns/{self.ask('POST', '/campaigns', body)['campaign_id']}"
        shown = ""

        def ended() -> bool:
            nonlocal shown
            found = self.ask("GET", path)
            states = [each["state"] for each in found["members"]]
            meanwhile(states)
            counts = ", ".join(f"{states.count(each)} {each.lower()}" for each in sorted(set(states)))
            if f"{found['state']}: {counts}" != shown:
                shown = f"{found['state']}: {counts}"
                self.say("campaign", f"{name} {shown}")
            return found["state"] not in ("Running", "RollingBack") and "Working" not in states

        self.until(f"the end of campaign {name}", ended)
        return self.ask("GET", path)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
        return True
    return False


# -- a campaign


def _update(run: UpdateRun) -> None:
    """Update the back end's node, then ten stations; then a bad release, and back."""
    good, bad = b"0.2.0\n", b"0.3.0\n" + CRASHES
    run.maker.release("csms-0.2.0.img", 1, b"0.2.0\n", NODE)
    run.maker.release("fw-0.2.0.img", 2, good)
    run.maker.release("fw-0.3.0.img", 3, bad)
    run.maker.release("fw-0.2.0-again.img", 4, good)  # an older image comes back under a higher number
    run.start(follows=True)
    run.until("the node's release", lambda: any(each["number"] for each in run.pages("/node-firmware")))
    (node,) = run.pages("/node-firmware")
    run.say("update", f"the node of the back end runs {node['version']}")
    run.check("the node of the back end is on its release", node["version"] == "csms-0.2.0.img", node["version"])
    run.say("campaign", "0.2.0 for ten stations: one, then three in all, then the rest")
    back = run.image("fw-0.2.0-again.img", good)
    first = run.campaign("0.2.0", run.image("fw-0.2.0.img", good), back)
    run.check("the good release reaches every station", first["state"] == "Finished", first["reason"])
    versions = run.versions()
    run.check("all stations run 0.2.0", set(versions.values()) == {"0.2.0"}, _count(versions))
    run.say("campaign", "0.3.0, which crashes after 3 s")
    second = run.campaign("0.3.0", run.image("fw-0.3.0.img", bad), back)
    tried = [each for each in second["members"] if each["installed_ms"]]
    run.check("the bad release halts the campaign", second["state"] == "Halted", second["reason"])
    run.check("few stations got it", 0 < len(tried) <= 3, f"{len(tried)} of {run.stations}")
    reverted = all(each["state"] == "Reverted" for each in tried)
    run.check("those went back", reverted, ", ".join(f"{each['station_id']} {each['state']}" for each in tried))
    versions = run.versions()
    run.check("the fleet is on the old release", set(versions.values()) == {"0.2.0"}, _count(versions))


def _count(versions: dict[str, str]) -> str:
    found = list(versions.values())
    return ", ".join(f"{found.count(each)} on {each}" for each in sorted(set(found)))


# -- a fleet


def _fleet(run: UpdateRun) -> None:
    """Update a fleet of two nodes: some are offline, 0, 3 and 10 % crash, and a file server is gone."""
    run.names = [name for prefix, count in FLEET.items() for name in numbered(prefix, count)]
    nodes = run.start_nodes()
    for prefix, node in zip(("A-", "B-"), (nodes[0], nodes[-1]), strict=True):
        run.start_stations(prefix.strip("-"), prefix, FLEET[prefix], node)
    images = {"0.2.0": b"0.2.0\n"}
    images |= {f"0.{share}.4": f"0.{share}.4\ncrashes 2 at {share} %\n".encode() for share in (3, 10)}

    def offered(version: str, web: WebServer = run.web) -> dict[str, str]:
        (web.folder / version).write_bytes(images[version])
        return run.maker.offer(f"{web.url}/{version}", images[version])

    plan: Fields = {"patience_s": 60, "cohorts": [0.05, 0.3, 1.0]}
    for share, version in zip((0, 3, 10), images, strict=True):
        run.say("campaign", f"{version}, which {share} % of the stations do not survive")
        found = run.campaign(version, offered(version), offered("0.2.0"), **plan)
        versions, members = run.versions(), found["members"]
        if not share:
            gone = [each["station_id"] for each in members if each["state"] != "Installed"]
            passed = found["state"] == "Finished" and len(gone) == FLEET["OFF-"]
            run.check("a good release reaches all but those that are offline", passed, found["reason"])
            run.start_stations("off", "OFF-", FLEET["OFF-"], nodes[-1])
            run.until("those are updated", lambda: set(run.versions().values()) == {"0.2.0"})
            run.check("those that were offline are updated when they connect", passed=True, evidence=", ".join(gone))
            continue
        crashed = [each for each in members if each["trouble"] == "Crashed"]
        back = all(each["state"] == "Reverted" and versions[each["station_id"]] == "0.2.0" for each in crashed)
        evidence = f"{found['state']}: {found['reason']}; {_count(versions)}"
        run.check(f"those that crash, {share} %, go back with their reason", bool(crashed) and back, evidence)
        whole = found["state"] == "Finished" or set(versions.values()) == {"0.2.0"}
        run.check(f"the campaign of {share} % ends, or takes all back", whole, evidence)
    images["0.9.0"], web = b"0.9.0\n", WebServer(run.folder / "gone")
    web.folder.mkdir()
    run.say("campaign", "0.9.0, whose file server dies")
    found = run.campaign(
        "0.9.0",
        offered("0.9.0", web),
        offered("0.2.0"),
        meanwhile=lambda states: web.stop() if {"Watched", "Installed"} & {*states} else None,
        **plan,
    )
    web.stop()
    troubles = {each["trouble"] for each in found["members"] if each["state"] == "Failed"}
    passed = found["state"] == "Halted" and troubles <= {"DownloadFailed", "Silent"} and bool(troubles)
    run.check("a file server that is gone halts the campaign", passed, f"{found['state']}: {found['reason']}")
    left = sum(each["state"] == "Waiting" for each in found["members"])
    run.check("the rest is left alone", left > FLEET["A-"], f"{left} of {run.stations} are waiting")
    kinds = {"campaign_halted", "update_failed"}
    run.until("the alerts", lambda: {each["kind"] for each in run.ask("GET", "/alerts?active=true")} >= kinds)
    run.check("an operator is told", passed=True, evidence=", ".join(sorted(kinds)))


# -- attacks


def _attack(run: UpdateRun) -> None:
    """Have a back end in wrong hands order what no charger must install."""
    maker, metadata = run.maker, run.maker.repository.folder / "metadata"
    old, present, other = b"0.1.5\n", b"0.2.0\n", b"0.2.1\n"
    maker.release("fw-0.1.5.img", 1, old)
    before = run.folder / "before"
    shutil.copytree(metadata, before)
    maker.release("fw-0.2.0.img", 2, present)
    maker.release("fw-other.img", 3, other, "ac22")
    run.start()
    run.check(
        "a listed release is installed", _order(run, "fw-0.2.0.img", present) == ("Installed", ""), run.versions()
    )

    def refused(attack: str, name: str, image: bytes, words: str) -> None:
        status, reason = _order(run, name, image)
        passed = status == "InvalidSignature" and words in reason
        run.check(attack, passed, reason or status)
        run.say("attack", f"{attack}: {reason or status}")

    with _forged(run, {}):
        refused("not listed", "fw-9.9.9.img", b"9.9.9\n", "does not list")
        refused("older image", "fw-0.1.5.img", old, "is older than")
        refused("for other hardware", "fw-other.img", other, "is for ac22")
    with _forged(run, {"targets/fw-0.2.0.img": b"0.9.9\n"}):
        refused("tampered image", "fw-0.2.0.img", present, "not the file that is released")
    with _forged(run, {"targets/fw-0.2.0.img": None}):
        refused("endless data", "fw-0.2.0.img", present, "larger than released")
    with _forged(run, {"metadata/timestamp.json": (before / "timestamp.json").read_bytes()}):
        refused("older metadata", "fw-0.1.5.img", old, "older than what was seen")
    with _published(run):
        maker.publish(timedelta(days=30))
        refused("frozen", "fw-0.2.0.img", present, "have expired")
    with _published(run):
        maker.list_by_two("fw-0.4.0.img", 9, b"0.4.0\n")
        refused("signed by two of five", "fw-0.4.0.img", b"0.4.0\n", "too few")
    with _published(run):
        maker.release("fw-0.3.0.img", 4, b"0.3.0\n")
        newest = max(metadata.glob("*.targets.json"), key=lambda each: int(each.name.partition(".")[0]))
        first = (metadata / "1.targets.json").read_bytes()
        with _forged(run, {f"metadata/{newest.name}": first}):
            refused("mixed and matched", "fw-0.3.0.img", b"0.3.0\n", "do not belong together")
    versions = run.versions()
    run.check("the charger still runs 0.2.0", set(versions.values()) == {"0.2.0"}, _count(versions))
    known = [each for each in run.pages("/security-events") if each["type"] == "InvalidFirmwareSignature"]
    run.check("the operator knows of each attempt", len(known) == len(run.checks) - 2, f"{len(known)} security events")


@contextlib.contextmanager
def _forged(run: UpdateRun, answers: dict[str, bytes | None]) -> Iterator[None]:
    run.web.forged = answers
    try:
        yield
    finally:
        run.web.forged = {}


@contextlib.contextmanager
def _published(run: UpdateRun) -> Iterator[None]:
    """Take back afterwards what was published meanwhile."""
    folder = run.maker.repository.folder
    kept = run.folder / "kept"
    shutil.copytree(folder, kept)
    try:
        yield
    finally:
        shutil.rmtree(folder)
        kept.rename(folder)


def _order(run: UpdateRun, name: str, image: bytes) -> tuple[str, str]:
    """Order an update at the first station; return its last status, and why it refused."""
    station = run.names[0]
    before = len(run.pages("/security-events"))
    asked = run.ask("POST", f"/stations/{station}/firmware", {"image": run.image(name, image), "retries": 0})
    path = f"/requests/{asked['request_id']}"
    run.until(f"the end of {name}", lambda: run.ask("GET", path)["done_ms"] is not None)
    status: str = run.ask("GET", path)["progress"]
    if status != "InvalidSignature":
        return status, ""
    run.until("its security event", lambda: len(run.pages("/security-events")) > before)
    return status, str(run.pages("/security-events")[0]["tech_info"])


class UpdateScenario(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario without vehicles."""

    name: str
    about: str
    stations: int
    script: Callable[[UpdateRun], None]


UPDATES: Final = (
    UpdateScenario(
        name="update",
        about="a campaign updates ten stations; the next release crashes, and the fleet goes back to the old one",
        stations=STATIONS,
        script=_update,
    ),
    UpdateScenario(
        name="update-fleet",
        about="campaigns over two nodes: stations are offline, 0, 3 and 10 % crash, a file server dies; each is named",
        stations=sum(FLEET.values()),
        script=_fleet,
    ),
    UpdateScenario(
        name="update-attack",
        about="a back end in wrong hands orders images that are old, frozen, forged, mixed, endless: none is installed",
        stations=1,
        script=_attack,
    ),
)


def play(scenario: UpdateScenario, folder: Path, timeline: Timeline) -> Summary:
    """Run a scenario in a new folder. Raises V2GError when a program fails."""
    run = UpdateRun(folder, timeline, scenario.stations)
    run.say("run", scenario.about)
    try:
        scenario.script(run)
    except V2GError as error:
        run.check("the run came to its end", passed=False, evidence=error)
    finally:
        run.stop()
    for each in run.programs:
        run.check(f"{each.name} ended well", each.exit_code == 0, f"exit code {each.exit_code}")
    return Summary(
        scenario=scenario.name,
        folder=str(folder),
        passed=all(each.passed for each in run.checks),
        checks=tuple(run.checks),
        facts=(("folder", str(folder)),),
        figures={"stations": scenario.stations},
    )
