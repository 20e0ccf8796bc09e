"""A sample of a battery: what is known of it at one time."""

from collections.abc import Mapping

import msgspec


class Sample(msgspec.Struct, frozen=True):
    """The newest known values at `at_ms` (UTC, ms since 1970), by the names and in the units of
    `v2g.telemetry.signals.SIGNALS`; current is positive while charging.

    A vehicle sends changes only: a value that did not change since is the same number again. Times rise, but for a
    clock that was set; several samples may have one time.
    """

    at_ms: int
    values: Mapping[str, float]
