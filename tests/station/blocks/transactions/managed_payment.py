"""What several tests of managed payment use."""

from tests.station.bench import Bench
from tests.station.blocks.transactions.managed_resumption import lead, records


def end(found: Bench) -> None:
    """The session ends, the older one of two."""
    reference, *_ = records(found)
    lead(
        found,
        lambda sessions: sessions.finish(reference, trigger="StopAuthorized", reason="Local", sample=found.read(1)),
    )
