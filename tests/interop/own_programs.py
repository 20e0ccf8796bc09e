"""What several tests of own programs use."""

import time

from v2g.energy.grid_signal import GridSignal, SignalSlot

HOUR_MS = 3_600_000
EXPORT_W = 8_000


def grid_signal() -> bytes:
    """Return prices of this hour and the next, and an export limit below what vehicle and charger can do."""
    now = time.time_ns() // 1_000_000
    slots = tuple(
        SignalSlot(
            start_ms=now - now % HOUR_MS + number * HOUR_MS,
            duration_s=HOUR_MS // 1000,
            import_price=300_000,
            export_compensation=250_000,
        )
        for number in range(2)
    )
    signal = GridSignal(
        version=1,
        issued_at_ms=now,
        source="test-dso",
        currency="EUR",
        slots=slots,
        site_import_limit_w=40_000,
        export_limit_w=EXPORT_W,
        valid_until_ms=slots[-1].start_ms + HOUR_MS,
    )
    return signal.to_json()
