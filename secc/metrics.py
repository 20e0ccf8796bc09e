"""The charger's state as metrics for Prometheus, from the picture that the status page shows (`secc.status`)."""

from collections.abc import Callable, Mapping
from typing import Final

from secc.status import ChargerStatus, EvseShown
from v2g.events import reported_by
from v2g.io.metrics import counter, exposition, gauge

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
