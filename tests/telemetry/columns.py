"""What several tests of columns use."""

import msgspec
from hypothesis import strategies as st

from v2g.telemetry.mapping import normalised
from v2g.telemetry.signals import CONTEXTS, MAX_UTC_MS, SIGNALS, Record, encode_record


def values(name: str) -> st.SearchStrategy[tuple[str, float]]:
    signal = SIGNALS[name]
    number = st.floats(signal.minimum, signal.maximum)
    return st.tuples(
        st.just(name), number | number.map(lambda n: normalised({name: n}).get(name, 0.0)) | number.map(int)
    )


TAGGED = st.builds(
    lambda **fields: msgspec.structs.replace(Record(**fields), signals=dict(sorted(fields["signals"].items()))),
    ev=st.sampled_from(["EV-1", "EV-1", "EV-2"]),
    boot=st.sampled_from([1, 1, 2**31]),
    seq=st.integers(1, 2**53 - 1),
    utc_ms=st.integers(0, MAX_UTC_MS),
    context=st.sampled_from(CONTEXTS),
    keyframe=st.booleans(),
    signals=st.lists(st.sampled_from(sorted(SIGNALS)).flatmap(values), max_size=8).map(dict),
    schema=st.just("v2g-telemetry/5"),
    trip=st.sampled_from(["1-0", "1-1"]),
    ambient_c=st.none() | st.floats(-60, 85) | st.sampled_from([18.5, 18.6]),
    charging_w=st.none() | st.floats(-2e6, 2e6) | st.sampled_from([0.0, -0.0, 11_000.0]),
).map(encode_record)
