"""A second implementation of settlements, from the pages alone: it imports nothing of this project.

It reads the lines of a journal as JSON, the signed offers with asn1tools by the published module, and calculates with
fractions. What it returns is compared with what the programs say.
"""

import base64
import hashlib
import itertools
import json
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import asn1tools

QUARTER_MS = 900_000
_MODULE = asn1tools.compile_files(str(Path(__file__).parents[3] / "v2g/asn1/V2GDischarge.asn"), "der")

Reading = tuple[int, int, int]
"""Time, import, export."""


def entries(journal: bytes) -> list[dict[str, Any]]:
    """Return the entries; each line has the hash of its content, and that of the line before."""
    found, head = [], "0" * 64
    for number, line in enumerate(journal.splitlines()):
        entry = json.loads(line)
        stated = entry.pop("hash")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert stated == hashlib.sha256(text.encode()).hexdigest()
        assert (entry["previous"], entry["sequence"]) == (head, number)
        head = stated
        found.append(entry)
    return found


def readings(journal: Iterable[dict[str, Any]]) -> list[Reading]:
    """Return what the meter showed; a silent one only counts at the end."""
    found: list[Reading] = []
    for entry in journal:
        data = entry["data"]
        if data["kind"] not in ("session_started", "meter_reading", "session_ended"):
            continue
        if "missing" not in data.get("status", ()):
            found.append((entry["utc_ms"], data["import_mwh"], data["export_mwh"]))
    return found


def register(known: list[Reading], at: int, which: int) -> int:
    """Return a register at a time: that of the last reading then, or on the line to the next one, rounded down."""
    before = [each for each in known if each[0] <= at][-1]
    if before[0] == at:
        return before[which]
    after = next(each for each in known if each[0] > at)
    return before[which] + int((after[which] - before[which]) * Fraction(at - before[0], after[0] - before[0]))


def offer_of(payload: str) -> dict[str, Any]:
    """Return the offer in a signed message."""
    content = _MODULE.decode("SignedMessage", base64.b64decode(payload))["content"]
    kind, message = _MODULE.decode("DischargeContent", content)
    assert kind in ("offer", "decision")
    return dict(message)


Slots = list[tuple[int, int, int, int]]
"""Begin, end, price of import, price of export."""


def regimes(journal: Iterable[dict[str, Any]]) -> list[tuple[int, str, Slots, str, Slots]]:
    """Return (since, currency and slots of the tariff, those of the accepted offer) as they came into force."""
    found: list[tuple[int, str, Slots, str, Slots]] = []
    tariff, offer, offers = ("", []), ("", []), {}  # type: tuple[str, Slots], tuple[str, Slots], dict[bytes, Any]
    for entry in journal:
        data = entry["data"]
        if data["kind"] == "tariff_set":
            slots = data["tariff"]["slots"]
            tariff = (
                data["tariff"]["currency"],
                [
                    (s["start_ms"], s["start_ms"] + s["duration_ms"], s["import_price"], s["export_compensation"])
                    for s in slots
                ],
            )
        elif data["kind"] == "terms_offered":
            made = offer_of(data["payload"])
            offers[made["offerId"]] = made
            continue
        elif data["kind"] == "terms_decided":
            made = offers[offer_of(data["payload"])["offerId"]]
            offer = (
                made["currency"],
                [
                    (
                        s["startAt"],
                        min(s["startAt"] + s["duration"], made["validUntil"]),
                        s["importPrice"],
                        s["exportCompensation"],
                    )
                    for s in made["prices"]
                ],
            )
            if not data["accepted"]:
                offer = "", []
        else:
            continue
        found.append((entry["utc_ms"], *tariff, *offer))
    return found


def price(known: list[tuple[int, str, Slots, str, Slots]], at: int) -> tuple[str, int, int, str] | None:
    """Return currency, both prices and their source at a time: an accepted offer goes before the tariff."""
    valid = [each for each in known if each[0] <= at]
    if not valid:
        return None
    _, currency, tariff, own, offer = valid[-1]
    for source, name, slots in (("offer", own, offer), ("tariff", currency, tariff)):
        for begin, end, taken, fed_back in slots:
            if begin <= at < end:
                return name, taken, fed_back, f"{source}{len(valid)}" if source == "offer" else source
    return None


def half_even(value: Fraction) -> int:
    """Return the nearest integer, the even one of two."""
    return round(value)


def bill(journal: bytes) -> dict[str, Any]:
    """Return energies (mWh), the cost of import, the credit for export (micro-units) and their lines."""
    known = entries(journal)
    meter, valid = readings(known), regimes(known)
    first, last = meter[0][0], meter[-1][0]
    quarters = [first, *range((first // QUARTER_MS + 1) * QUARTER_MS, last, QUARTER_MS), last]
    lines: list[tuple[int, int, str, int, int]] = []  # begin, end, direction, energy, amount
    for begin, end in itertools.pairwise(quarters):
        cuts = {begin, end} | {each[0] for each in valid if begin < each[0] < end}
        for _, _, tariff, _, offer in valid:
            cuts |= {edge for slot in (*tariff, *offer) for edge in slot[:2] if begin < edge < end}
        parts: list[list[Any]] = []
        ordered = sorted(cuts)
        for one, two in itertools.pairwise(ordered):
            now = price(valid, one)
            if parts and parts[-1][2] == now:
                parts[-1][1] = two
            else:
                parts.append([one, two, now])
        for one, two, now in parts:
            for which, direction in ((1, "import"), (2, "export")):
                energy = register(meter, two, which) - register(meter, one, which)
                if energy:
                    amount = 0 if now is None else half_even(Fraction(energy * now[which], 10**6))
                    lines.append((one, two, direction, energy, amount))
    return {
        "import_mwh": meter[-1][1] - meter[0][1],
        "export_mwh": meter[-1][2] - meter[0][2],
        "cost": sum(amount for *_, direction, _, amount in lines if direction == "import"),
        "credit": sum(amount for *_, direction, _, amount in lines if direction == "export"),
        "lines": lines,
        "head": json.loads(journal.splitlines()[-1])["hash"],
    }
