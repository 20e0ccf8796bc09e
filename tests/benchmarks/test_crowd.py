"""Vehicles that arrive at once and leave at once at a charger's program whose disk is slow: none is lost (R220)."""

from pathlib import Path

import pytest

from benchmarks.charging import many

pytestmark = [pytest.mark.requirement("R220"), pytest.mark.e2e]

VEHICLES = 12


def test_no_vehicle_of_a_crowd_is_lost_though_the_disk_is_slow(tmp_path: Path) -> None:
    """Each vehicle ends its session when a response takes longer than the standard permits."""
    report = many(tmp_path, VEHICLES, seconds=0.2, crowd_s=0.1, slow_disk_s=0.01).report
    assert list(report.ended) == ["finished"] * VEHICLES
    assert len(report.setup_ms["PowerDeliveryReq"]) == VEHICLES
    assert len(report.leaving_ms["SessionStopReq"]) == VEHICLES
