"""Limits of dispatch on a balanced site: they apply in both directions, to dispatch and balancing together (Q, K02).

Into the vehicles dispatch may use current not given to others; out of them the site's feed-back limit, whatever others
draw, since they may stop at any moment.
"""

from collections.abc import Mapping

import msgspec

from csms.domain.charging.charging_plans import VOLTAGE
from csms.domain.charging.sites import Known, Place, Site, current_of, loads_of, phases_of
from v2g.energy.balancing import Load, Node, share


class PowerRange(msgspec.Struct, frozen=True, kw_only=True):
    """Capability of a vehicle at a place (W): maximum into it, and out of it, and the least that it takes and gives."""

    most_w: int
    most_out_w: int = 0
    least_w: int = 0
    least_out_w: int = 0


def bound(
    site: Site, known: Mapping[str, Known], given: Mapping[str, int], ranges: Mapping[str, PowerRange], now_ms: int
) -> dict[str, PowerRange]:
    """Return the capabilities together, by place: within each vehicle's maximum and every node's limits.

    `given`: the last limit of each EVSE (mA), which dispatched vehicles keep for afterwards.
    """
    places = {place.id: place for place in site.places if place.id in ranges}
    inward = share(site.nodes, _inward(site, known, given, ranges, now_ms))
    outward = share([_backwards(node) for node in site.nodes], _outward(site, known, ranges))
    return {
        name: msgspec.structs.replace(
            ranges[name],
            most_w=_watts(inward[name], ranges[name].most_w, place),
            most_out_w=_watts(outward[name], ranges[name].most_out_w, place),
        )
        for name, place in places.items()
    }


def kept_shares(
    site: Site, known: Mapping[str, Known], given: Mapping[str, int], ranges: Mapping[str, PowerRange], now_ms: int
) -> dict[str, int]:
    """Return the lower limit (mA) of each vehicle in `ranges` that keeps more for afterwards than it is to draw.

    For plans: what a vehicle does not draw by its plan is for those that do.
    """
    planned = {name: given[name] for name in given if name not in ranges} | dict.fromkeys(ranges, 0)
    drawn = share(site.nodes, _inward(site, known, planned, ranges, now_ms))
    return {name: drawn[name] for name in ranges if drawn[name] < given.get(name, site.waiting_ma)}


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


def _watts(milliampere: int, most_w: int, place: Place) -> int:
    """Return the power of a current, and `most_w` for its own, which is less than 1 mA more."""
    if milliampere >= current_of(most_w, place):
        return most_w
    return milliampere * VOLTAGE * len(place.phases) // 1000
