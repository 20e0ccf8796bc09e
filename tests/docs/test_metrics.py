"""The tables of metrics name what the programs export, as the library of Prometheus reads it."""

import re

from prometheus_client.parser import text_string_to_metric_families

from csms.metrics import Metrics
from docs.metrics import metrics
from secc.status import ChargerStatus, EvseShown
from secc.status_page import metrics as charger_metrics


def named(program: str) -> set[str]:
    return {name.removesuffix("_total") for name in re.findall(r"^\| `(\w+)", metrics(program), re.MULTILINE)}


def exported(text: bytes) -> set[str]:
    return {family.name for family in text_string_to_metric_families(text.decode())}


def test_the_table_of_a_charger_is_what_it_exports() -> None:
    assert named("secc") == exported(
        charger_metrics(ChargerStatus(2_000, 1_000, evses=(EvseShown(1, "DE*1", "Available"),)))
    )


def test_the_table_of_the_back_end_has_its_counters() -> None:
    counters = exported(Metrics().text([]))
    assert len(counters) > 10
    assert counters <= named("csms")
    assert "| `v2g_ocpp_received_seconds{action}` |" in metrics("csms")
