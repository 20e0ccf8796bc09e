"""Passwords of stations: what is made, what is kept, what fits."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csms.admission.rules import PasswordMarks, check_password, new_password
from v2g.errors import RefusedError
from v2g.pki.password_hash import hash_password, password_fits


def test_new_passwords_are_letters_and_digits_of_their_own() -> None:
    counter = itertools.count()
    made = [new_password(lambda n: bytes((next(counter) * 7) % 256 for _ in range(n))) for _ in range(2)]
    assert made[0] != made[1]
    for each in made:
        assert len(each) == 32
        assert each.isalnum()
        check_password(each)


@pytest.mark.parametrize("password", ["", "short", "x" * 15, "x" * 41, "x" * 20 + "\n", "x" * 20 + "\0"])
def test_passwords_that_stations_could_not_have_are_refused(password: str) -> None:
    with pytest.raises(RefusedError):
        check_password(password)


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


def test_a_mark_says_yes_no_or_nothing() -> None:
    marks = PasswordMarks(b"secret")
    mark = marks.mark("CS-1", "one", "hash 1")
    assert marks.judge(mark, "CS-1", "one", "hash 1") is True
    assert marks.judge(mark, "CS-1", "two", "hash 1") is False
    assert marks.judge(mark, "CS-2", "one", "hash 1") is False
    assert marks.judge(mark, "CS-1", "one", "hash 2") is None, "it has another password since"
    assert marks.judge("", "CS-1", "one", "hash 1") is None
    assert PasswordMarks(b"other").judge(mark, "CS-1", "one", "hash 1") is None, "the store key was lost"
    assert "one" not in mark
