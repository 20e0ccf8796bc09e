"""What several tests of whole session use."""

from tests.sessions.joined import Joined


def assert_safe(joined: Joined) -> None:
    """Both ends are open and dead."""
    assert joined.evcc.closed
    assert joined.secc.closed
    assert not joined.plant.ev_closed
    assert not joined.plant.evse_closed
    assert joined.plant.flow()[1] == 0
