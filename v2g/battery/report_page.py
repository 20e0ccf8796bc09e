"""The report on a battery as a page that prints on two sheets: it loads nothing and runs no script (R213)."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import Final

from v2g.battery.report import HealthReport, Measured
from v2g.battery.usage import COLD_C, HOT_C
from v2g.look import document
from v2g.text import printable

_STYLE: Final = (
    ".bar{background:currentColor;height:.6em;opacity:.5}"
    "@media print{@page{size:A4;margin:15mm}.sheet{margin:0;max-width:none}}"
)
_MOST_EVENTS: Final = 40


def report_page(report: HealthReport, data: bytes, signature: bytes) -> str:
    """Return the page of a report; `data` and `signature` are what is verified."""
    pack, spent, evidence, growth = report.pack, report.exposure, report.evidence, report.resistance_growth
    facts = [
        ("Vehicle", escape(report.ev)),
        ("Battery", f"{pack.chemistry.upper()}, {pack.cells} cells, {pack.capacity_ah:g} Ah when new"),
        ("Capacity", _measured(report.capacity_ah, "Ah")),
        ("State of health", f"<strong>{_measured(report.soh_percent, '%')}</strong>"),
        ("Resistance", f"{growth:.2f} times that when new" if growth is not None else "unknown"),
        ("Equivalent full cycles", f"{report.cycles.total:.1f}, {report.cycles.v2g_share_percent:.1f} % for the grid"),
        ("Records", f"{evidence.samples:,} from {_day(evidence.first_ms)} to {_day(evidence.last_ms)}"),
        ("Time", f"{_hours(evidence.known_s)} known, {_hours(evidence.unknown_s)} unknown"),
        ("Measurements", f"{evidence.measurements} of the capacity, {evidence.references} compared with a reference"),
    ]  # fmt: skip
    flows = (
        (
            name,
            f"{report.cycles.by_purpose[name]:.1f}",
            _hours(flow.seconds),
            f"{flow.charged_wh / 1000:,.1f}",
            f"{flow.discharged_wh / 1000:,.1f}",
        )
        for name, flow in report.flows.items()
    )
    events = [
        (
            escape(printable(each.kind).replace("_", " ")),
            _day(each.at_ms),
            "" if each.until_ms is None else _day(each.until_ms),
        )
        for each in report.events[:_MOST_EVENTS]
    ]
    body = (
        f"<h1>Battery report</h1><p>Made {_day(report.made_ms)} (UTC).</p>"
        + _table((), facts)
        + "<h2>Use</h2>"
        + _table(("purpose", "cycles", "time", "kWh in", "kWh out"), flows)
        + "<h2>Temperature</h2>"
        + _bins(spent.temperature_edges_c, spent.temperature_s, "°C")
        + f"<p>Charged from {HOT_C:g} °C on for {_hours(spent.hot_charging_s)}, below {COLD_C:g} °C for "
        f"{_hours(spent.cold_charging_s)}; {spent.deep_discharges} deep discharges.</p>"
        + "<h2>Current, multiples of the capacity</h2><h3>In</h3>"
        + _bins(spent.rate_edges, spent.charge_rate_s, "C")
        + "<h3>Out</h3>"
        + _bins(spent.rate_edges, spent.discharge_rate_s, "C")
        + f"<h2>Events ({len(report.events)})</h2>"
        + (_table(("what", "from", "to"), events) if events else "<p>None.</p>")
        + "<h2>Method</h2><ul>"
        + "".join(f"<li>{escape(printable(each))}</li>" for each in report.method)
        + f"</ul><h2>Signature</h2><p>SHA-256 of the JSON: <code>{hashlib.sha256(data).hexdigest()}</code></p>"
        f'<p style="overflow-wrap:anywhere"><code>{signature.hex()}</code></p>'
    )
    return document(f"Battery report of {report.ev}", body, style=_STYLE)


def _measured(one: Measured, unit: str) -> str:
    return f"{one.value:.1f} ± {one.deviation:.1f} {unit}"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h"


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are HTML."""
    top = f"<thead><tr>{''.join(f'<th>{each}</th>' for each in heads)}</tr></thead>" if heads else ""
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{top}<tbody>{lines}</tbody></table>"


def _bins(edges: Sequence[float], seconds: Sequence[float], unit: str) -> str:
    whole = sum(seconds) or 1.0
    inner = (f"{low:g} to {high:g}" for low, high in pairwise(edges))
    names = [f"below {edges[0]:g}", *inner, f"{edges[-1]:g} and more"]
    rows = (
        (f"{name} {unit}", _hours(spent), f'<div class="bar" style="width:{100 * spent / whole:.1f}%"></div>')
        for name, spent in zip(names, seconds, strict=True)
        if spent
    )
    return _table((), rows)
