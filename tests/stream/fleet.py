"""Records of a fleet with faults, out of order and repeated, and what is found in them without a stream."""

import itertools
import random
from collections.abc import Sequence

import msgspec

from benchmarks.battery import samples
from csms.batteries.rules import Battery, advance
from csms.telemetry.rules import StoredRecord
from deploy.stream.keyed import record_of
from v2g.battery.detectors import DetectorSettings
from v2g.telemetry.signals import SCHEMA_4, Record, encode_record

LATE_MS = 4000
"""How much later than others a record may come."""


def fleet(vehicles: int, seconds: int, seed: int = 1) -> list[bytes]:
    """Return the records of vehicles, some too hot for a while, some with a spread of their cells."""
    scatter, rows = random.Random(seed), list[tuple[float, bytes]]()
    for vehicle in range(vehicles):
        for seq, sample in enumerate(itertools.islice(samples(), seconds), 1):
            values = dict(sample.values)
            if vehicle % 3 == 0 and 100 < seq % 400 < 200:
                values["battery.temperature.max"] = 58.0
            if vehicle % 3 == 1 and 200 < seq % 500 < 300:
                values["battery.cell_voltage.imbalance"] = 0.09
                values["battery.cell_voltage.max"] += 0.09
            record = Record(
                f"EV-{vehicle}", 1, seq, sample.at_ms + vehicle, "charging", keyframe=True,
                signals=dict(sorted(values.items())), schema=SCHEMA_4, trip="1-0", ambient_c=None, charging_w=None,
            )  # fmt: skip
            rows.append((sample.at_ms + scatter.uniform(0, LATE_MS), encode_record(record)))
    rows.sort()
    return [body for _, body in rows for _ in range(1 + (scatter.random() < 0.02))]


def embedded(lines: Sequence[bytes]) -> list[bytes]:
    """Return what the back end's own function finds in records, in any order of the vehicles."""
    known: dict[str, dict[tuple[int, int], StoredRecord]] = {}
    for line in lines:
        record = record_of(line)
        known.setdefault(record.ev, {})[record.boot, record.seq] = record
    found = []
    for records in known.values():
        found += advance(DetectorSettings(), Battery(), [records[place] for place in sorted(records)]).reports
    return sorted(msgspec.json.encode(each, order="deterministic") for each in found)
