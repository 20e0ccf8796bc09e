"""What dispatch may ask of vehicles on a balanced site: its limits hold in both directions, whoever uses them (Q, K02).

Into the vehicles dispatch may use what others were not given; out of them what the site may feed back, whatever others
draw, since they may stop at any moment.
"""

from collections.abc import Mapping

import msgspec

from csms.domain.charging.balancing import Load, Node, share
from csms.domain.charging.charging_plans import VOLTAGE
from csms.domain.charging.sites import Known, Place, Site, current_of, loads_of, phases_of


class PowerRange(msgspec.Struct, frozen=True, kw_only=True):
    """What a vehicle at a place could do (W): at most so much into it, or out of it."""

    most_w: int
    most_out_w: int = 0


def bound(
    site: Site,
    known: Mapping[str, Known],
    given: Mapping[str, int],
    ranges: Mapping[str, PowerRange],
    now_ms: int,
) -> dict[str, PowerRange]:
    """Return what vehicles may be asked together, by place: never more than they can take, or than any node allows.

    `given`: what each EVSE was last allowed (mA), which vehicles that are dispatched keep for the time after.
    """
    places = {place.id: place for place in site.places if place.id in ranges}
    inward = share(site.nodes, [*_inward(site, known, given, ranges, now_ms)])
    outward = share([_backwards(node) for node in site.nodes], [*_outward(site, known, ranges)])
    return {
        name: PowerRange(
            most_w=min(ranges[name].most_w, _watts(inward[name], place)),
            most_out_w=min(ranges[name].most_out_w, _watts(outward[name], place)),
        )
        for name, place in places.items()
    }


def _inward(
    site: Site, known: Mapping[str, Known], given: Mapping[str, int], ranges: Mapping[str, PowerRange], now_ms: int
) -> list[Load]:
    places = {place.id: place for place in site.places}
    found = []
    for load in loads_of(site, known, given, now_ms):
        if load.id not in ranges:
            fixed = load.fixed if load.fixed is not None else given.get(load.id, site.waiting_ma)
            found.append(msgspec.structs.replace(load, fixed=fixed))
            continue
        place, least = places[load.id], given.get(load.id, site.waiting_ma)
        most = min(place.most_ma, current_of(ranges[load.id].most_w, place))
        external_w = known[load.id].external_w
        if external_w is not None:
            most = min(most, current_of(external_w, place))
        found.append(_free(place, least, max(most, least)))
    return found


def _outward(site: Site, known: Mapping[str, Known], ranges: Mapping[str, PowerRange]) -> list[Load]:
    found = []
    for place in site.places:
        if place.id in ranges:
            most = min(place.most_ma, current_of(ranges[place.id].most_out_w, place))
            found.append(_free(place, 0, most))
        elif (dispatched_w := known.get(place.id, Known()).dispatch_w or 0) < 0:
            out = current_of(-dispatched_w, place)
            found.append(msgspec.structs.replace(_free(place, 0, out), fixed=out))
    return found


def _free(place: Place, least: int, most: int) -> Load:
    return Load(id=place.id, node=place.node, phases=phases_of(place), least=least, most=most, running=True)


def _backwards(node: Node) -> Node:
    return msgspec.structs.replace(node, limits=node.limits if node.feed_back is None else node.feed_back)


def _watts(milliampere: int, place: Place) -> int:
    return milliampere * VOLTAGE * len(place.phases) // 1000
