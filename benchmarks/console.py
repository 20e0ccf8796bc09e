"""Pages of the operator's console, with 1, 1,000 and 10,000 stations in the database.

The back end is the real program, its client a person with a session, over TLS on a connection that stays. Each station
has two connectors, a running transaction, and five of the last days that ended. A time is from the request until the
whole page has arrived; the program's own processor time is in the notes, as it hardly depends on other load.
"""

import hashlib
import http.client
import secrets
import shutil
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

import msgspec

from benchmarks import charging
from benchmarks.figures import Figure, cpu_s, percentile
from csms.accounts import store as users
from csms.accounts.rules import Role
from csms.accounts.work import hash_password
from csms.console.application import ROUTES
from csms.console.visit import ROOT, segment
from csms.db.store import Store, address
from csms.stations.tables import connectors, stations
from csms.transactions import events
from csms.transactions.rules import Dated, Sample, Transaction
from csms.transactions.tables import transaction_events, transactions
from pki_tools.tree import make_pki
from v2g.telemetry.signals import Record, encode_record
from v2g.units import DAY_MS
from v2g_cli.demo.processes import Program, program, wait_for

ABOUT = "pages of the operator's console with 1, 1,000 and 10,000 stations: time and size; points on its map"
REQUIREMENTS = ("R177",)

SIZES: Final = (1, 1000, 10_000)
ROUNDS: Final = 20
FIRST_MS: Final = 200.0
FIRST_SIZE: Final = 1000
MOST_KB: Final = 300.0
MOVED_MS: Final = 200.0
VEHICLES: Final = 10_000
_LEFT_OUT: Final = ("/positions", "/login/provider", "/login/provider/back")
"""Streams, and what needs an OpenID provider."""

_NAME: Final = "benchmark"
_TOKEN: Final = secrets.token_urlsafe(32)
_ENDED: Final = 5
_READINGS: Final = 500
_BATCH: Final = 5000

_CSMS: Final = """data_dir = "csms"
[ocpp]
port = 0
certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
client_roots = ["pki/csms/root.pem"]
[api]
port = 0
certificate = "pki/csms/server/chain.pem"
key = "pki/csms/server/leaf.key"
requests_per_s = 100000
requests_at_once = 1000000
[trust]
roots = ["pki/mo/root.pem"]
"""
_BEARER: Final = """[[api.tokens]]
name = "benchmark"
role = "admin"
sha256 = "{}"
"""


def measure(*, quick: bool) -> Iterator[Figure]:
    """Yield time and size of the first page, and of the slowest and the largest of all."""
    for count in SIZES[:1] if quick else SIZES:
        with tempfile.TemporaryDirectory() as folder:
            found = _pages(Path(folder), count, 2 if quick else ROUNDS)
        target = FIRST_MS if count <= FIRST_SIZE else None
        first, slowest = found["overview"], max(found, key=lambda name: found[name].cpu_ms)
        yield _figure(count, "the first page, p95", "ms", first.p95_ms, target, first.note)
        costly = sorted(found.items(), key=lambda each: -each[1].cpu_ms)[1:5]
        note = f"{found[slowest].note}; then {', '.join(f'{name} {each.cpu_ms:.0f} ms' for name, each in costly)}"
        yield _figure(count, f"the most costly, {slowest}, p95", "ms", found[slowest].p95_ms, None, note)
        largest = max(found, key=lambda name: found[name].octets)
        kb = found[largest].octets / 1000
        yield _figure(count, f"the largest, {largest}, with script and style", "kB", kb, MOST_KB)
    if shutil.which("chromium"):
        vehicles, moves = (100, 5) if quick else (VEHICLES, 200)
        with tempfile.TemporaryDirectory() as folder:
            moved = percentile(_moves(Path(folder), vehicles, moves), 0.95) * 1000
        about = f"a vehicle of {vehicles:,} moves on the map after its record was sent, p95"
        yield Figure(about, moved, "ms", target=MOVED_MS, note="in Chromium")


@dataclass
class Cost:
    """What a page took: times until it had arrived (s), the back end's processor time (s), and octets."""

    times: list[float]
    cpu_s: float
    octets: int

    @property
    def p95_ms(self) -> float:
        """The 95th percentile of the times."""
        return percentile(self.times, 0.95) * 1000

    @property
    def cpu_ms(self) -> float:
        """Processor time of a request."""
        return self.cpu_s * 1000 / len(self.times)

    @property
    def note(self) -> str:
        """The processor time in words."""
        return f"{self.cpu_ms:.0f} ms of processor"


def _figure(count: int, about: str, unit: str, value: float, target: float | None, note: str = "") -> Figure:
    figure = f"{count:,} stations: {about}"
    return Figure(figure, value, unit, target=target, note=note)


@contextmanager
def _running(folder: Path, count: int) -> Iterator[tuple[Program, http.client.HTTPSConnection, str]]:
    """Run a back end with so many stations; yield it, a connection, and the cookie of a session."""
    make_pki(folder / "pki", now=datetime.now(UTC))
    config = folder / "csms.toml"
    config.touch(mode=0o600)
    config.write_text(_CSMS + _BEARER.format(hashlib.sha256(_TOKEN.encode()).hexdigest()))
    csms = program("csms", folder, config)
    password = secrets.token_urlsafe(12)
    with ExitStack() as stack:
        csms.start()
        stack.callback(csms.stop)
        port = wait_for(csms, "ocpp", "ready", [], seconds=charging.START_S).data["api_port"]
        _fill(folder / "csms", count, password)
        context = ssl.create_default_context(cafile=folder / "pki/csms/root.pem")
        client = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
        stack.callback(client.close)
        yield csms, client, _log_in(client, password)


def _moves(folder: Path, vehicles: int, moves: int) -> list[float]:
    """Return how long (s) after it was sent a vehicle's record has moved its point in a browser."""
    from playwright.sync_api import sync_playwright  # on demand: a browser may be missing

    with _running(folder, 1) as (_, client, cookie), sync_playwright() as playwright:
        begun_ms = time.time_ns() // 1_000_000
        for first in range(0, vehicles, 1000):
            _deliver(client, [_position(each, 1, begun_ms) for each in range(first, min(vehicles, first + 1000))])
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(ignore_https_errors=True)
        url = f"https://localhost:{client.port}"
        name, _, value = cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "url": url, "secure": True}])
        tab = context.new_page()
        tab.goto(f"{url}{ROOT}/map")
        tab.get_by_text(f"{vehicles} vehicles").wait_for()
        tab.evaluate(_WATCH)
        sent: dict[str, float] = {}
        for each in range(moves):
            at_ms = begun_ms + 1 + each
            sent[str(at_ms)] = time.time()
            _deliver(client, [_position(each % vehicles, 2 + each // vehicles, at_ms)])
            tab.locator(f"canvas[data-drawn='{at_ms}']").wait_for(state="attached")
        drawn: dict[str, float] = tab.evaluate("window.drawn")
        browser.close()
    return [drawn[at_ms] / 1000 - begun for at_ms, begun in sent.items()]


_WATCH: Final = """() => {
  const canvas = document.querySelector("[data-map]");
  window.drawn = {};
  const note = () => { window.drawn[canvas.dataset.drawn] = Date.now(); };
  new MutationObserver(note).observe(canvas, { attributeFilter: ["data-drawn"] });
}"""


def _position(number: int, seq: int, at_ms: int) -> bytes:
    place: dict[str, float | str] = {
        "location.latitude": 48 + number % 100 / 100 + seq / 1000,
        "location.longitude": 11 + number / 10_000,
    }
    return encode_record(Record(f"EV-{number:05}", 1, seq, at_ms, "city", seq == 1, place))


def _deliver(client: http.client.HTTPSConnection, records: list[bytes]) -> None:
    client.request("POST", "/telemetry", b"[" + b",".join(records) + b"]", {"Authorization": f"Bearer {_TOKEN}"})
    answer = client.getresponse()
    if b'"refused":[]' not in answer.read().replace(b" ", b""):
        raise AssertionError("a record was refused")


def _pages(folder: Path, count: int, rounds: int) -> dict[str, Cost]:
    """Return what each page took, with all that it loads."""
    with _running(folder, count) as (csms, client, cookie):
        loaded = sum(len(_get(client, path, cookie)) for path in _assets(_get(client, ROOT, cookie).decode()))
        found = {}
        for name, path in _paths().items():
            times = []
            assert csms.process is not None
            before = cpu_s(csms.process.pid)
            for _ in range(rounds):
                begun = time.perf_counter()
                page = _get(client, path, cookie)
                times.append(time.perf_counter() - begun)
            found[name] = Cost(times, cpu_s(csms.process.pid) - before, len(page) + loaded)
    return found


def _paths() -> dict[str, str]:
    """Return each page by name."""
    plain = (each for each in ROUTES if each.method == "GET" and "{" not in each.path and each.path not in _LEFT_OUT)
    found = {each.path.strip("/") or "overview": ROOT + each.path for each in plain}
    return found | {
        "station": f"{ROOT}/stations/{segment('CS-00000')}",
        "session": f"{ROOT}/sessions/CS-00000/0-0",
        "faulted stations": f"{ROOT}/stations?status=Faulted",
        "sessions now": f"{ROOT}/sessions?active=true",
        "report by station": f"{ROOT}/reports?by=station",
    }


def _assets(page: str) -> list[str]:
    return [part.split('"')[0] for mark in ('src="', 'rel="stylesheet" href="') for part in page.split(mark)[1:]]


def _log_in(client: http.client.HTTPSConnection, password: str) -> str:
    fields = urlencode({"name": _NAME, "password": password})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "same-origin"}
    client.request("POST", f"{ROOT}/login", fields, headers)
    answer = client.getresponse()
    answer.read()
    return str(answer.headers["Set-Cookie"]).split(";")[0]


def _get(client: http.client.HTTPSConnection, path: str, cookie: str) -> bytes:
    client.request("GET", path, headers={"Cookie": cookie})
    answer = client.getresponse()
    page = answer.read()
    if answer.status != 200:
        raise AssertionError(f"{path}: {answer.status}")
    return page


# -- what the database holds


def _fill(data_dir: Path, count: int, password: str) -> None:
    """Store a person, stations, and their transactions."""
    now_ms = time.time_ns() // 1_000_000
    store = Store(address("", data_dir))
    try:
        hashed = hash_password(password)
        store.do(users.add, _NAME, Role.ADMIN, hashed, now_ms, "benchmark")
        store.do(users.set_password, _NAME, hashed, initial=False)
        with store.engine.begin() as connection:
            for first in range(0, count, _BATCH):
                numbers = range(first, min(count, first + _BATCH))
                connection.execute(stations.insert(), [_station(number, now_ms) for number in numbers])
                plugs = [_connector(number, plug, now_ms) for number in numbers for plug in (1, 2)]
                connection.execute(connectors.insert(), plugs)
                rows = [_transaction(number, which, now_ms) for number in numbers for which in range(_ENDED + 1)]
                connection.execute(transactions.insert(), rows)
                ended = [msgspec.json.decode(str(row["document"]), type=Transaction) for row in rows if row["ended_ms"]]
                events.save(connection, ended, now_ms)
            connection.execute(transaction_events.insert(), [_event(number, now_ms) for number in range(_READINGS)])
    finally:
        store.close()


def _name(number: int) -> str:
    return f"CS-{number:05}"


def _station(number: int, now_ms: int) -> dict[str, object]:
    times = dict.fromkeys(("first_seen_ms", "last_seen_ms", "booted_ms"), now_ms)
    about = {"vendor": "Vendor", "model": "Model", "serial_number": f"{number}", "firmware": "1.0"}
    return {"station_id": _name(number), "protocol": "ocpp2.1", "boot_status": "Accepted", **times, **about}


def _connector(number: int, plug: int, now_ms: int) -> dict[str, object]:
    status = "Faulted" if number % 50 == 0 else "Occupied" if plug == 1 else "Available"
    place = {"station_id": _name(number), "evse_id": plug, "connector_id": 1}
    return {**place, "status": status, "changed_ms": now_ms}


def _transaction(number: int, which: int, now_ms: int) -> dict[str, object]:
    ended_ms = now_ms - which * DAY_MS if which else None
    started_ms = (ended_ms or now_ms) - 3_600_000

    def dated(value: object) -> Dated:
        return Dated(1, str(value))

    whole = Transaction(
        station_id=_name(number),
        transaction_id=f"{number}-{which}",
        first_seq=0,
        last_seq=1,
        started_seq=0,
        started_ms=started_ms,
        ended_seq=1 if which else None,
        ended_ms=ended_ms,
        evse_id=1,
        connector_id=1,
        charging_state=dated("Idle" if which else "Charging"),
        import_start_wh=dated(0),
        import_wh=dated(20_000 + number),
        export_start_wh=dated(0),
        export_wh=dated(1000),
        power_w=dated(-9000 if number % 3 == 0 else 11_000),
        soc=dated(50),
    )
    row = {"station_id": whole.station_id, "transaction_id": whole.transaction_id, "active": not which}
    document = msgspec.json.encode(whole).decode()
    return {**row, "started_ms": started_ms, "ended_ms": ended_ms, "document": document, "heard_ms": now_ms}


def _event(number: int, now_ms: int) -> dict[str, object]:
    at_ms = now_ms - 3_600_000 + number * 7000
    measured = (("Power.Active.Import", 11_000 - number, "W"), ("SoC", 10 + number // 10, "Percent"))
    samples = [Sample(at_ms=at_ms, measurand=name, value=str(value), unit=unit) for name, value, unit in measured]
    document = {"eventType": "Updated", "seqNo": number, "transactionInfo": {"transactionId": "0-0"}}
    times = {"at_ms": at_ms, "received_ms": at_ms, "offline": False, "digest": ""}
    place = {"station_id": _name(0), "transaction_id": "0-0", "seq_no": number}
    kind = {"kind": "Updated", "trigger": "MeterValuePeriodic"}
    texts = {"document": msgspec.json.encode(document).decode(), "samples": msgspec.json.encode(samples).decode()}
    return {**place, **kind, **times, **texts}
