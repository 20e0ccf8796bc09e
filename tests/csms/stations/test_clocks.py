"""What a station's clock is set to."""

from typing import Any

from csms.stations.rules import ClockMirror, ClockSettings, by_name, by_offset, data_of, is_set, mirror_of, transition
from tests.together import together
from v2g.ocpp.times import format_time, parse_time

BERLIN = ClockSettings(zone="Europe/Berlin", sources=("NTP", "Heartbeat"))
OCTOBER = parse_time("2026-10-01T00:00:00Z")


def row(variable: str, value: str | None, instance: str = "", **more: Any) -> dict[str, Any]:
    names = {"variable": variable, "variable_instance": instance, "attribute": "Actual", "value": value}
    return names | {"after_reboot": None, "values_list": ""} | more


@together(
    ("zone", "at", "offset", "change"),
    [
        ("Europe/Berlin", "2026-10-01T00:00:00Z", "+02:00", ("2026-10-25T01:00:00Z", "+01:00")),
        ("Europe/Berlin", "2026-10-25T01:00:00Z", "+01:00", ("2027-03-28T01:00:00Z", "+02:00")),
        ("America/St_Johns", "2026-07-01T00:00:00Z", "-02:30", ("2026-11-01T04:30:00Z", "-03:30")),
        ("Australia/Lord_Howe", "2026-01-01T00:00:00Z", "+11:00", ("2026-04-04T15:00:00Z", "+10:30")),
        ("Europe/Berlin", "2026-10-01T00:00:01Z", "+02:00", ("2026-10-25T01:00:00Z", "+01:00")),
        ("Europe/Berlin", "2026-10-01T00:00:02Z", "+02:00", ("2026-10-25T01:00:00Z", "+01:00")),
        ("Europe/Berlin", "2026-10-25T00:59:59Z", "+02:00", ("2026-10-25T01:00:00Z", "+01:00")),
        ("Asia/Kathmandu", "2026-01-01T00:00:00Z", "+05:45", None),
        ("UTC", "2026-01-01T00:00:00Z", "+00:00", None),
    ],
)
def test_offsets_and_when_they_change(zone: str, at: str, offset: str, change: tuple[str, str] | None) -> None:
    wanted = None if change is None else (parse_time(change[0]), change[1])
    assert transition(zone, parse_time(at)) == (offset, wanted)


def test_a_station_that_knows_zones_receives_the_name_once() -> None:
    unread = mirror_of([])
    assert by_name(BERLIN, unread) == {("TimeZone", ""): "Europe/Berlin", ("TimeSource", ""): "NTP,Heartbeat"}
    reported = mirror_of(
        [
            row("TimeZone", "UTC", after_reboot="Europe/Berlin"),
            row("TimeSource", "Heartbeat", values_list="Heartbeat, RealTimeClock"),
            row("TimeSource", "x", attribute="Target"),
        ]
    )
    assert by_name(BERLIN, reported) == {}, "what holds after a reboot is set; of its sources it has one that is wanted"
    assert by_name(ClockSettings(zone="Asia/Kathmandu"), reported) == {("TimeZone", ""): "Asia/Kathmandu"}
    assert by_name(ClockSettings(), reported) == {}


def test_a_station_without_zones_receives_offsets() -> None:
    mirror = mirror_of([row("DateTime", "2026-10-01T00:00:00Z"), row("TimeOffset", "+02:00")])
    assert by_name(BERLIN, mirror) == {("TimeSource", ""): "NTP,Heartbeat"}
    wanted = by_offset(BERLIN, mirror, OCTOBER)
    assert wanted == {
        ("TimeOffset", "NextTransition"): "+01:00",
        ("NextTimeOffsetTransitionDateTime", ""): format_time(parse_time("2026-10-25T01:00:00Z")),
    }
    assert [(each.component.name, each.variable.name, each.variable.instance) for each in data_of(wanted)] == [
        ("ClockCtrlr", "TimeOffset", "NextTransition"), ("ClockCtrlr", "NextTimeOffsetTransitionDateTime", None)
    ]  # fmt: skip
    assert [each.attribute_value for each in data_of(wanted)] == list(wanted.values())
    reported = ClockMirror(
        {**mirror.values, **wanted, ("NextTimeOffsetTransitionDateTime", ""): "2026-10-25T02:00:00+01:00"}, ()
    )
    assert by_offset(BERLIN, reported, OCTOBER) == {}
    after = by_offset(BERLIN, reported, parse_time("2026-10-26T00:00:00Z"))
    assert after["TimeOffset", ""] == "+01:00"
    assert after["TimeOffset", "NextTransition"] == "+02:00"
    assert by_offset(ClockSettings(), reported, OCTOBER) == {}
    assert is_set(("NextTimeOffsetTransitionDateTime", ""), "2026-10-25T01:00:00Z", "never") is False
    assert not is_set(("NextTimeOffsetTransitionDateTime", ""), "2026-10-25T01:00:00Z", None)


def test_what_a_station_has_reported_of_its_clock_is_read_as_it_is() -> None:
    silent = mirror_of([row("TimeZone", None, values_list=None), row("TimeSource", None, values_list=None)])
    assert silent == ClockMirror({("TimeZone", ""): "", ("TimeSource", ""): ""}, ())
    assert mirror_of([row("TimeSource", "NTP", values_list="NTP,Heartbeat ,,GPS")]).sources == (
        "NTP", "Heartbeat", "GPS"
    )  # fmt: skip
    emptied = mirror_of([row("TimeZone", "UTC", after_reboot=""), row("TimeSource", "x", "other", values_list="GPS")])
    assert emptied == ClockMirror({("TimeZone", ""): "", ("TimeSource", "other"): "x"}, ())
    some = mirror_of([row("TimeSource", "GPS", values_list="GPS,NTP,Heartbeat")])
    assert by_name(ClockSettings(sources=("NTP", "RealTimeClock", "Heartbeat")), some) == {
        ("TimeSource", ""): "NTP,Heartbeat"
    }  # fmt: skip
    assert by_name(ClockSettings(sources=("RealTimeClock",)), some) == {}
