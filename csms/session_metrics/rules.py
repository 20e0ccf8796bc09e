"""Whether a station's parts work as before, and as those of its kind, by figures of each session.

From itself: each figure is compared with the station's first sessions, and what deviates adds up over sessions, above
and below (cumulative sum, as for batteries). From its kind: its recent level is compared with the median of stations
of the same make and firmware, in robust deviations. A single session counts little: vehicles differ.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

import msgspec

from v2g.battery.cusum import advance
from v2g.hardware.session_metrics import METRICS, Metric, MetricName, SessionMetrics

REFERENCE: Final = 30
"""Sessions that are the reference."""

_SLACK: Final = 0.5 + 2 / math.sqrt(REFERENCE)
"""Deviation that adds nothing, in standard deviations: half of a shift of one, and the reference is uncertain, too."""

_CLIP: Final = 4.0
"""One session counts at most so many standard deviations: three in a row are needed."""

_MOST: Final = 20.0
"""Limit of a sum, so that it falls soon after a repair."""

_RECENT: Final = 0.1
"""Weight of the newest session in the recent level."""

KNOWN: Final = 10
"""Sessions of a station, and stations of a kind, from which on they are compared with others."""

_REMEMBERED: Final = 16
"""Sessions that are known again when they are delivered twice."""

_SECONDS: Final = 1e-3


class FigureTrack(msgspec.Struct, frozen=True):
    """One figure at one EVSE; of ratios its logarithm. `above` and `below` are the sums."""

    sessions: int = 0
    reference: float = 0.0
    squares: float = 0.0
    recent: float = 0.0
    above: float = 0.0
    below: float = 0.0


class StationTracks(msgspec.Struct, frozen=True):
    """Tracks by figure and EVSE, `contactor_close_s 1`; the last sessions, by EVSE, id and time."""

    tracks: dict[str, FigureTrack] = {}
    last: tuple[str, ...] = ()


class JudgedStation(msgspec.Struct, frozen=True):
    """How far a station is from before or from its kind, in standard deviations, and by which figure that is most."""

    value: float = 0.0
    facts: dict[str, float] = {}


class SessionFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure at one EVSE, in its unit: of the first sessions, and of the recent ones.

    `moved`: how far the recent ones are from the first ones, in standard deviations, in sum.
    """

    evse_id: int
    figure: MetricName
    sessions: int
    first: float
    recent: float
    moved: float


def taken(state: StationTracks, metrics: SessionMetrics) -> StationTracks | None:
    """Return the state after a session; None if that session is in it already."""
    key = f"{metrics.evse_id} {metrics.session_id} {metrics.at_ms}"
    if key in state.last:
        return None
    tracks = dict(state.tracks)
    for name, metric in METRICS.items():
        if (value := metrics.values.get(name)) is not None:
            place = f"{name} {metrics.evse_id}"
            tracks[place] = _after(
                tracks.get(place, FigureTrack()), metric, math.log(max(_SECONDS, value)) if metric.ratio else value
            )
    return StationTracks(tracks, (*state.last, key)[-_REMEMBERED:])


def _after(track: FigureTrack, metric: Metric, value: float) -> FigureTrack:
    sessions = track.sessions + 1
    if sessions <= REFERENCE:  # Welford's mean and sum of squares
        off = value - track.reference
        reference = track.reference + off / sessions
        return FigureTrack(sessions, reference, track.squares + off * (value - reference), reference)
    shift = (value - track.reference) / max(metric.least, math.sqrt(track.squares / (REFERENCE - 1)))
    shift = max(-_CLIP, min(_CLIP, shift))
    return msgspec.structs.replace(
        track,
        sessions=sessions,
        recent=track.recent + _RECENT * (value - track.recent),
        above=min(_MOST, advance(track.above, shift, _SLACK)),
        below=min(_MOST, advance(track.below, -shift, _SLACK)),
    )


def drift(state: StationTracks) -> JudgedStation:
    """Return the largest sum of a station, with its figure's level before and now."""
    drifts = (
        JudgedStation(max(track.above, track.below), _facts(place, track.recent, before=track.reference))
        for place, track in state.tracks.items()
    )
    return max(drifts, key=lambda each: each.value, default=JudgedStation())


def figures(state: StationTracks) -> tuple[SessionFigure, ...]:
    """Return what is known of a station, by EVSE and figure."""
    found = [
        SessionFigure(
            evse_id=int(place.rpartition(" ")[2]),
            figure=name,
            sessions=track.sessions,
            first=_shown(name, track.reference),
            recent=_shown(name, track.recent),
            moved=max(track.above, track.below),
        )
        for place, track in state.tracks.items()
        if (name := _name(place)) is not None
    ]
    return tuple(sorted(found, key=lambda each: (each.evse_id, each.figure)))


def restarted(state: StationTracks) -> StationTracks:
    """Return the state whose next sessions are the reference, such as after a repair; old ones still count as known."""
    return StationTracks(last=state.last)


def levels(state: StationTracks) -> dict[str, float]:
    """Return the recent level of each figure, over all EVSEs of which enough is known; of ratios the logarithm."""
    found: dict[str, list[float]] = {}
    for place, track in state.tracks.items():
        if track.sessions >= KNOWN:
            found.setdefault(place.partition(" ")[0], []).append(track.recent)
    return {name: sum(each) / len(each) for name, each in found.items()}


def apart(state: StationTracks, others: Sequence[Mapping[str, float]]) -> JudgedStation:
    """Return how far the figure that differs most is from the `levels` of other stations of the same kind."""
    worst = JudgedStation()
    for place, track in state.tracks.items():
        name = _name(place)
        known = [] if name is None else [each[name] for each in others if name in each]
        if name is None or track.sessions < KNOWN or len(known) < KNOWN:
            continue
        middle = median(known)
        wide = max(1.4826 * median(abs(each - middle) for each in known), 2 * METRICS[name].least)
        far = abs(track.recent - middle) / wide
        if far > worst.value:
            worst = JudgedStation(far, _facts(place, track.recent, kind=middle))
    return worst


def _name(place: str) -> MetricName | None:
    return next((name for name in METRICS if place.startswith(f"{name} ")), None)


def _facts(place: str, recent: float, **compared: float) -> dict[str, float]:
    name, evse = _name(place), float(place.rpartition(" ")[2])
    if name is None:  # of another version
        return {}
    shown = {f"{name}_{word}": _shown(name, each) for word, each in compared.items()}
    return {"evse": evse, name: _shown(name, recent)} | shown


def _shown(name: MetricName, value: float) -> float:
    return math.exp(value) if METRICS[name].ratio else value
