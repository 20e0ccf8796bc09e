"""The status page of a charger: `secc.status` as HTML, JSON and metrics, for who commissions it (`[status_page]`).

It has threads of its own and reads the last picture only, so it cannot delay charging, and it takes no commands. The
page has no script and nothing of other servers, and its policy says so (CSP level 3); it loads itself anew.
"""

import asyncio
import base64
import errno
import hashlib
import hmac
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from html import escape
from typing import Final

import msgspec

from secc.config import SHORTEST_TOKEN, StatusPageConfig
from secc.status import ChargerStatus, EvseShown, LineShown, SessionShown, Tone, summary
from v2g.errors import ConfigError, TransportError
from v2g.events import reported_by
from v2g.io.http.server import BoundedServer, HttpHandler
from v2g.io.metrics import counter, exposition, gauge
from v2g.io.runtime.supervision import new_thread
from v2g.io.tls.files import show
from v2g.look import LOOK, document
from v2g.observe import Observe
from v2g.pki.keys import read_secret

Read = Callable[[EvseShown], float]


def _opened_s(evse: EvseShown) -> float:
    return evse.safety.at_ms / 1000 if evse.safety.verdict == "opened" else 0.0


_SIGNS: Final = ("none", "signed")

_GAUGES: Final[Mapping[str, tuple[str, Read]]] = {
    "available": ("1: ready for a vehicle.", lambda evse: evse.state == "Available"),
    "occupied": ("1: a vehicle is plugged in.", lambda evse: evse.state == "Occupied"),
    "faults": ("Active faults.", lambda evse: len(evse.interlock.faults)),
    "stopping_faults": ("Active faults that stop energy.", lambda evse: sum(f.stops for f in evse.interlock.faults)),
    "volts": ("Voltage at the output.", lambda evse: evse.stage.voltage_mv / 1000),
    "amperes": ("Current at the output, positive into the vehicle.", lambda evse: evse.stage.current_ma / 1000),
    "watts": ("Power at the output, positive into the vehicle.", lambda evse: evse.stage.power_w),
    "contactor_closed": ("1: the contactor is closed.", lambda evse: evse.interlock.contactor == "closed"),
    "board_answers": ("1: the control board answers.", lambda evse: evse.board.state == "answers"),
    "meter_answers": ("1: the last reading of the meter succeeded.", lambda evse: evse.meter.answers),
    "meter_signs": (
        "0: the last session was not signed, or the meter's certificate has expired.",
        lambda evse: evse.meter.signature in _SIGNS,
    ),
    "modem_lost": ("1: the powerline modem does not answer.", lambda evse: evse.modem.state == "lost"),
    "safety_opened_seconds": ("When the safety monitor last opened, s since 1970; 0: never.", _opened_s),
}
"""Of each EVSE."""

_COUNTERS: Final[Mapping[str, tuple[str, Read]]] = {
    "import_watthours": ("Register of the meter: energy into vehicles.", lambda evse: evse.meter.import_mwh / 1000),
    "export_watthours": ("Register of the meter: energy out of vehicles.", lambda evse: evse.meter.export_mwh / 1000),
}


_WARNINGS: Final = tuple(each for each in reported_by("secc") if each.is_warning)
"""A series that began with its first event would hide that one from `increase`."""


def metrics(status: ChargerStatus) -> bytes:
    """Return a charger's metrics in Prometheus' text format; the label `evse` is OCPP's number."""

    def each(read: Read) -> dict[str, float]:
        return {str(evse.number): read(evse) for evse in status.evses}

    csms = status.csms
    events = {each.name: status.events.get(each.name, 0) for each in _WARNINGS}
    answers = csms.state == "connected" and not csms.silent
    return exposition(
        (
            gauge("v2g_charger_updated_seconds", "When these were read, s since 1970.", status.utc_ms / 1000),
            gauge("v2g_charger_started_seconds", "When the program started, s since 1970.", status.started_ms / 1000),
            counter("v2g_charger_defects", "Exceptions that no code expected, since the start.", status.defects),
            counter("v2g_charger_events", "Events of severity warning and error, since the start.", events, "event"),
            gauge("v2g_charger_csms_answers", "1: accepted by the back end, which answers.", answers),
            gauge("v2g_charger_csms_attempts", "Failed attempts since the last connection.", csms.attempts),
            *(gauge(f"v2g_charger_{name}", about, each(read), "evse") for name, (about, read) in _GAUGES.items()),
            *(counter(f"v2g_charger_{name}", about, each(read), "evse") for name, (about, read) in _COUNTERS.items()),
        )
    )


MOST_CLIENTS: Final = 8
PER_S: Final = 20.0
"""Accepted connections a second: what they cost cannot add up."""

PATIENCE_S: Final = 5.0
"""Time limit of a client for each part of its request, and for reading the answer."""

RELOAD_S: Final = 5
REPORT_S: Final = 60.0
"""Interval of events about refused clients."""


class StatusPage:
    """Serves the picture that `latest` returns."""

    def __init__(
        self, config: StatusPageConfig, latest: Callable[[], ChargerStatus], observe: Callable[[Observe], None]
    ) -> None:
        self._config, self._latest, self._observe = config, latest, observe

    async def run(self) -> None:
        """Serve until cancelled. Raises ConfigError, KeyAccessError and TransportError."""
        config, loop = self._config, asyncio.get_running_loop()
        token = read_secret(config.token_file).strip()
        if len(token) < SHORTEST_TOKEN:
            raise ConfigError(f"{config.token_file} has fewer than {SHORTEST_TOKEN} characters", hint="v2g secc init")

        def refused(peer: str) -> None:
            loop.call_soon_threadsafe(self._observe, Observe("program", "status_page_refused", {"peer": peer}))

        try:
            server = PageServer(config, token, self._latest, refused)
        except OSError as error:
            where = f"{config.host} port {config.port}: {error.strerror or error}"
            change = "; each charger of a machine needs a port of its own: change status_page.port"
            raise TransportError(
                f"cannot listen on {where}{change if error.errno == errno.EADDRINUSE else ''}"
            ) from None
        scheme, host = "http" if config.chain is None else "https", config.host
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.server_port}/"
        thread = new_thread(target=partial(server.serve_forever, 0.1), name="status page")
        thread.start()
        self._observe(Observe("program", "status_page", {"url": url}))
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(server.shutdown)
            server.server_close()


class PageServer(BoundedServer):
    """The listener: `refused` is called with the address of a client without the token, once a minute."""

    def __init__(
        self,
        config: StatusPageConfig,
        token: bytes,
        latest: Callable[[], ChargerStatus],
        refused: Callable[[str], None],
    ) -> None:
        super().__init__(config.host, config.port, _Page, most_clients=MOST_CLIENTS, per_s=PER_S, tls=_context(config))
        self.latest, self.has_metrics = latest, config.metrics
        self._token, self._refused, self._reported_s = token, refused, -REPORT_S

    def admits(self, header: str, peer: str) -> bool:
        """Return whether a request has the token; report others, one a minute."""
        if hmac.compare_digest(_given(header), self._token):
            return True
        now = time.monotonic()
        if now - self._reported_s >= REPORT_S:
            self._reported_s = now
            self._refused(peer)
        return False


def _context(config: StatusPageConfig) -> ssl.SSLContext | None:
    if config.chain is None or config.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    show(context, config.chain, config.key)
    return context


def _given(header: str) -> bytes:
    """Return the token in an Authorization header: Bearer, or the password of Basic (RFC 6750, RFC 7617)."""
    scheme, _, value = header.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return value.strip().encode(errors="replace")
        case "basic":
            try:
                return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
            except ValueError:
                return b""
    return b""


class _Page(HttpHandler):
    timeout = PATIENCE_S
    server: PageServer

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        """Answer a request."""
        if not self.server.admits(self.headers.get("Authorization", ""), str(self.client_address[0])):
            wanted = {"WWW-Authenticate": 'Basic realm="charger", charset="UTF-8"'}
            self.answer(401, b"token required, as password or Bearer token\n", wanted | HEADERS)
        elif self.path == "/":
            self.answer(200, page(self.server.latest()).encode(), HEADERS, "text/html; charset=utf-8")
        elif self.path == "/status.json":
            self.answer(200, msgspec.json.encode(self.server.latest()), HEADERS, "application/json")
        elif self.path == "/metrics" and self.server.has_metrics:
            from secc.status_page import metrics  # loads a package that only this needs

            self.answer(200, metrics(self.server.latest()), HEADERS, "text/plain; version=0.0.4; charset=utf-8")
        else:
            self.answer(404, b"/, /status.json or, with status_page.metrics, /metrics\n", HEADERS)


# -- HTML -------------------------------------------------------------------------------------------------------------

_STYLE: Final = """
dd.bad{color:var(--bad);font-weight:600}
dd::before{content:"";display:inline-block;width:.6rem;height:.6rem;border-radius:50%;margin-right:.55rem;
background:var(--line)}
dd.good::before{background:var(--good)}dd.busy::before{background:var(--warn)}dd.bad::before{background:var(--bad)}
@media (max-width:44rem){thead{display:none}tr{display:block;border-top:1px solid var(--line);padding:.4rem 0}
td{display:grid;grid-template-columns:7.5rem 1fr;border:0;padding:.1rem 0}
td::before{content:attr(data-name);color:var(--dim)}}
"""
_HASH: Final = base64.b64encode(hashlib.sha256((LOOK + _STYLE).encode()).digest()).decode()
HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_SHARED: Final = frozenset({"csms"})
"""Parts that all EVSEs share."""


def page(status: ChargerStatus) -> str:
    """Return the page."""
    title = f"Charger {status.csms.identity or (status.evses[0].evse_id if status.evses else '')}".strip()
    back_end = summary(status, status.evses[0]) if status.evses else {}
    parts = [_evse(status, each) for each in status.evses]
    if back_end:
        parts.insert(0, f'<section class="card"><h2>CSMS</h2>{_list({"connection": back_end["csms"]})}</section>')
    if status.managers_lost:
        lines = {each: LineShown(f"lost; {text}", "bad") for each, text in status.managers_lost.items()}
        parts.insert(0, f'<section class="card"><h2>Energy managers</h2>{_list(lines)}</section>')
    if status.grid_code is not None:
        parts.insert(0, f'<section class="card"><h2>Grid code</h2>{_list({"state": status.grid_code.line})}</section>')
    if status.eebus is not None:
        shown = status.eebus
        lines = {"SKI": LineShown(shown.ski), "QR": LineShown(shown.qr)}
        lines |= {name: LineShown(state) for name, state in shown.limits.items()}
        tones: Mapping[str, Tone] = {"connected": "good", "waiting": "busy", "disconnected": "bad"}
        lines |= {f"box {ski}": LineShown(state, tones.get(state, "plain")) for ski, state in shown.boxes.items()}
        parts.insert(0, f'<section class="card"><h2>EEBUS</h2>{_list(lines)}</section>')
    head = (
        f'<h1>{escape(title)}</h1><p class="dim">{_time(status.utc_ms)}, v2g-engine {escape(status.program)}, '
        f"running since {_time(status.started_ms)}</p>"
    )
    return document(title, "\n".join(["<main>", head, *parts, "</main>"]), style=_STYLE, reload_s=RELOAD_S)


def _evse(status: ChargerStatus, evse: EvseShown) -> str:
    lines = {name: line for name, line in summary(status, evse).items() if name not in _SHARED}
    refused = f"<p>Last vehicle refused: {escape(evse.refused)}</p>" if evse.refused else ""
    return (
        f'<section class="card"><h2>EVSE {evse.number}: {escape(evse.evse_id)}</h2>{_list(lines)}{refused}'
        f"<h3>Last sessions</h3>{_sessions(evse.sessions)}</section>"
    )


def _list(lines: dict[str, LineShown]) -> str:
    return (
        '<dl class="pairs">'
        + "".join(
            f'<dt>{escape(name)}</dt><dd class="{each.tone}">{escape(each.text)}</dd>' for name, each in lines.items()
        )
        + "</dl>"
    )


def _sessions(sessions: tuple[SessionShown, ...]) -> str:
    if not sessions:
        return "<p>None since the program started.</p>"
    heads = "".join(f'<th scope="col">{name}</th>' for name in _COLUMNS)
    rows = []
    for each in sessions:
        cells = (
            _time(each.started_ms),
            f"{(each.ended_ms - each.started_ms) // 1000} s" if each.ended_ms else "runs",
            each.edition,
            each.authorisation or "none",
            each.grid_support.replace("_", " ") or "none",
            f"{each.energy_in_wh / 1000:.3f} kWh",
            f"{each.energy_out_wh / 1000:.3f} kWh",
            each.reason.replace("_", " "),
            each.session_id,
        )
        named = zip(_COLUMNS, cells, strict=True)
        rows.append("<tr>" + "".join(f'<td data-name="{name}">{escape(cell)}</td>' for name, cell in named) + "</tr>")
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


_COLUMNS: Final = ("begun", "lasted", "edition", "authorised by", "grid support", "in", "out", "ended by", "session")


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
