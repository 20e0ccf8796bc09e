"""The list of field quirks is whole, and each is reported once a session."""

import re

from v2g.iso15118.engine import quirks
from v2g.iso15118.engine.quirks import QUIRKS, SeenQuirks


def test_every_quirk_has_a_name_of_its_own_and_says_what_is_done_about_it() -> None:
    assert len({each.name for each in QUIRKS}) == len(QUIRKS) > 25
    for each in QUIRKS:
        assert re.fullmatch(r"[a-z_]+", each.name)
        assert each.what
        assert each.handling


def test_a_quirk_is_new_once_a_session() -> None:
    seen = SeenQuirks()
    assert [seen.is_new(quirks.EVCCID_LENGTH) for _ in range(3)] == [True, False, False]
    assert seen.is_new(quirks.EVSEID_TEXT)
    assert SeenQuirks().is_new(quirks.EVCCID_LENGTH)
