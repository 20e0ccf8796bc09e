"""A sample of a battery, what is known of it at one time; and a finding, what a detector says of it."""

from collections.abc import Mapping

import msgspec

from v2g.events import Severity


class Sample(msgspec.Struct, frozen=True):
    """The newest known values at `at_ms` (UTC, ms since 1970), by the names and in the units of
    `v2g.telemetry.signals.SIGNALS`; current is positive while charging.

    A vehicle sends changes only: a value that did not change since is the same number again. Times rise, but for a
    clock that was set; several samples may have one time.
    """

    at_ms: int
    values: Mapping[str, float]


class Finding(msgspec.Struct, frozen=True):
    """Something found (`raised`), or no longer so, by the sample of `at_ms` (UTC, ms since 1970)."""

    kind: str
    """What, such as `over_temperature`; a vehicle has at most one of each kind at a time."""
    severity: Severity
    at_ms: int
    raised: bool
    value: float
    """In the unit of `limit`, which it passed."""
    limit: float
    evidence: Mapping[str, float] = {}
    """Values of the sample, by signal, and what was calculated from them."""


def judge(
    kind: str,
    severity: Severity,
    active: bool,
    value: float,
    limit: float,
    clear: float,
    sample: Sample,
    evidence: Mapping[str, float] | None = None,
) -> tuple[bool, tuple[Finding, ...]]:
    """Return whether a finding is active after `value`, and the finding if that has changed.

    It begins beyond `limit` and ends at `clear` or before it: above where `clear` is less, else below (hysteresis). A
    value that is no number changes nothing. The evidence is the sample if none is given.
    """
    sign = 1.0 if clear <= limit else -1.0
    now = not sign * value <= sign * clear if active else sign * value > sign * limit
    if now is active:
        return active, ()
    facts = dict(sample.values) if evidence is None else dict(evidence)
    return now, (Finding(kind, severity, sample.at_ms, now, value, limit, facts),)
