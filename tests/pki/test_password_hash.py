"""Hashes of passwords: only the password fits its own."""

from hypothesis import given, settings
from hypothesis import strategies as st

from v2g.pki.password_hash import hash_password, password_fits


def test_only_the_password_fits_its_hash_and_nothing_is_kept_in_clear() -> None:
    kept = hash_password("a password of length", b"0123456789abcdef")
    assert "password of" not in kept
    assert password_fits("a password of length", kept)
    assert not password_fits("a password of lengths", kept)
    assert kept != hash_password("a password of length", b"fedcba9876543210")
    random = hash_password("a password of length", b"0123456789abcdef", random=True)
    assert random != kept
    assert password_fits("a password of length", random)


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_nothing_fits_what_is_no_hash(kept: str) -> None:
    assert not password_fits("x", kept)
