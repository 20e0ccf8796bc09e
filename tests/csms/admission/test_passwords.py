"""Passwords of stations: what is made, what is stored, what fits."""

import itertools

import pytest

from csms.admission.rules import SALT_BYTES, PasswordMarks, check_password, forms, new_password, stored_form
from tests.together import together
from v2g.errors import RefusedError


def test_new_passwords_are_letters_and_digits_of_their_own() -> None:
    counter = itertools.count()
    made = [new_password(lambda n: bytes((next(counter) * 7) % 256 for _ in range(n))) for _ in range(2)]
    assert made[0] != made[1]
    for each in made:
        assert len(each) == 32
        assert each.isalnum()
        check_password(each)


def test_octets_beyond_letters_and_digits_are_left_out_so_that_each_is_as_likely() -> None:
    rounds = iter((bytes((62, 63, 255, 61)) * 16, bytes((0, 100, 200, 255)) * 16))
    assert new_password(lambda _: next(rounds)) == "9" * 16 + "a" * 16
    assert len(new_password(lambda n: bytes(range(n)))) == 32


@pytest.mark.parametrize("password", ["x" * 16, "x" * 40, "\u00e4" * 16, "a password with blanks"])
def test_passwords_that_stations_can_have_are_taken(password: str) -> None:
    check_password(password)


@together("password", ["", "short", "x" * 15, "x" * 41, "x" * 20 + "\n", "x" * 20 + "\0"])
def test_passwords_that_stations_could_not_have_are_refused(password: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_password(password)
    assert refused.value.reason == "password"


DIGITS = "0123456789abcdef0123456789abcdef01234567"
TEXT = "an OCPP 1.6 key, 20."


@together(
    ("stored", "shown"),
    [
        (DIGITS, {DIGITS, DIGITS.upper()}),
        (DIGITS.upper(), {DIGITS, DIGITS.upper()}),
        (TEXT, {TEXT}),
        (TEXT.encode().hex(), {TEXT, TEXT.encode().hex(), TEXT.encode().hex().upper()}),
        (f"{DIGITS[:-1]}x", {f"{DIGITS[:-1]}x"}),
        ("another password", {"another password"}),
        ("c3a4" * 10, {"\u00e4" * 10, "c3a4" * 10, "C3A4" * 10}),
    ],
)
def test_a_key_of_16_fits_as_octets_and_as_digits_in_any_case(stored: str, shown: set[str]) -> None:
    everything = {DIGITS, TEXT, TEXT.encode().hex(), f"{DIGITS[:-1]}x", "another password", "\u00e4" * 10, "c3a4" * 10}
    everything |= {each.upper() for each in everything}
    assert {each for each in everything if stored_form(stored) in forms(each)} == shown


def test_what_was_stored_before_forms_were_one_still_fits() -> None:
    """Also digits in upper case fit, as they are and as digits in lower case do."""
    assert DIGITS.upper() in forms(DIGITS)
    assert len(set(forms(TEXT))) == len(forms(TEXT)), "no slow hash is tried twice"
    assert forms(TEXT)[0] == TEXT, "what is most likely comes first"


def test_a_salt_is_as_long_as_nist_wants_it() -> None:
    assert SALT_BYTES >= 16


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
    key = marks.mark("CS-1", DIGITS, "hash 1")
    assert marks.judge(key, "CS-1", DIGITS.upper(), "hash 1") is True
    assert marks.judge(key, "CS-1", bytes.fromhex(DIGITS).decode("latin-1"), "hash 1") is False
