"""What several tests of grid use."""

from v2g.energy.grid_signal import GridSignal, SignalSlot


def signal(version: int, export_w: int, import_w: int = 60_000) -> GridSignal:
    slots = (SignalSlot(start_ms=0, duration_s=3600, import_price=300_000, export_compensation=200_000),)
    return GridSignal(
        version=version, issued_at_ms=0, source="dso", currency="EUR", slots=slots,
        site_import_limit_w=import_w, export_limit_w=export_w, valid_until_ms=3_600_000,
    )  # fmt: skip
