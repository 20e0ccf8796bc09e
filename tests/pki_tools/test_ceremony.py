"""Root keys in several hands: any three of five holders, never two, and every mistake is named."""

import contextlib
import itertools
import random
import secrets

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic import MnemonicError, combine_mnemonics
from shamir_mnemonic.shamir import RawShare, _interpolate
from shamir_mnemonic.share import Share

from pki_tools.ceremony import (
    Sealed,
    ShareWords,
    fingerprint,
    join,
    read_sealed,
    read_sheet,
    read_words,
    split,
    try_all,
    write_sheet,
)
from pki_tools.tree import PkiTree
from tests.fuzz.mutations import mutated
from tests.pki_tools.conftest import NOW
from v2g.errors import ConfigError, KeyAccessError
from v2g.pki.keys import PrivateKey, load_private_key


class Ceremony(msgspec.Struct, frozen=True):
    key: PrivateKey
    certificate: x509.Certificate
    sealed: Sealed
    shares: tuple[ShareWords, ...]


def hold(tree: PkiTree, threshold: int = 3, shares: int = 5) -> Ceremony:
    key = load_private_key(tree.path("v2g/root.key"))
    certificate = x509.load_pem_x509_certificate(tree.path("v2g/root.pem").read_bytes())
    made = split(key, certificate, threshold=threshold, shares=shares, entropy=secrets.token_bytes)
    return Ceremony(key, certificate, *made)


@pytest.fixture(scope="module")
def ceremony(pki: PkiTree) -> Ceremony:
    return hold(pki)


def same(one: PrivateKey, other: PrivateKey) -> bool:
    form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return one.private_bytes(*form) == other.private_bytes(*form)


@pytest.mark.requirement("R147")
def test_any_three_shares_give_the_key_back(ceremony: Ceremony) -> None:
    for three in itertools.combinations(ceremony.shares, 3):
        assert same(join(ceremony.sealed, three), ceremony.key)
    assert same(join(ceremony.sealed, ceremony.shares), ceremony.key)
    assert try_all(ceremony.sealed, ceremony.shares, ceremony.key.public_key()) == 10


@pytest.mark.requirement("R147")
def test_no_two_shares_open_anything(ceremony: Ceremony) -> None:
    for two in itertools.combinations(ceremony.shares, 2):
        with pytest.raises(KeyAccessError, match="2 shares given, 3 needed"):
            join(ceremony.sealed, two)
        with pytest.raises(MnemonicError):  # the library itself, without our counting
            combine_mnemonics([share.words for share in two])


@settings(max_examples=40, deadline=None)
@given(guess=st.binary(min_size=32, max_size=32), pair=st.sampled_from(list(itertools.combinations(range(5), 2))))
def test_two_shares_tell_nothing_about_the_secret(ceremony: Ceremony, guess: bytes, pair: tuple[int, int]) -> None:
    """For every secret there is a third share with which these two give just that: all are equally possible."""
    held = [Share.from_mnemonic(ceremony.shares[at].words) for at in pair]
    points = [RawShare(share.index, share.value) for share in held]
    third = next(index for index in range(5) if index not in {share.index for share in held})
    value = _interpolate([*points, RawShare(255, guess)], third)
    assert _interpolate([*points, RawShare(third, value)], 255) == guess


@settings(max_examples=15, deadline=None)
@given(data=st.data(), counts=st.tuples(st.integers(2, 5), st.integers(0, 4)))
def test_fewer_shares_than_the_threshold_are_refused_for_any_split(
    pki: PkiTree, data: st.DataObject, counts: tuple[int, int]
) -> None:
    threshold, more = counts
    made = hold(pki, threshold, threshold + more)
    chosen = data.draw(st.permutations(made.shares))
    assert same(join(made.sealed, chosen[:threshold]), made.key)
    with pytest.raises(KeyAccessError):
        join(made.sealed, chosen[: threshold - 1])


@pytest.mark.parametrize(("threshold", "shares"), [(1, 5), (6, 5), (3, 17), (0, 0)])
def test_splits_that_make_no_sense_are_refused(pki: PkiTree, threshold: int, shares: int) -> None:
    with pytest.raises(ConfigError):
        hold(pki, threshold, shares)


def test_the_same_share_twice_does_not_count_twice(ceremony: Ceremony) -> None:
    one, two, *_ = ceremony.shares
    copy = ShareWords("copy.txt", one.number, one.words)
    with pytest.raises(KeyAccessError, match=r"share 1 and copy.txt are the same share 1"):
        join(ceremony.sealed, (one, two, copy))


def test_shares_of_another_key_are_named(ceremony: Ceremony, pki: PkiTree) -> None:
    other = hold(pki)
    with pytest.raises(KeyAccessError, match=r"ada.txt: belongs to set \d+, not to \d+"):
        read_words("ada.txt", other.shares[0].words.split(), ceremony.sealed)


def test_shares_of_an_earlier_splitting_do_not_open_a_later_one(ceremony: Ceremony) -> None:
    """Even if their number were the same: the sealed key is authenticated."""
    other = msgspec.structs.replace(ceremony.sealed, nonce="00" * 12)
    with pytest.raises(KeyAccessError, match="do not open the sealed key"):
        join(other, ceremony.shares[:3])


def test_a_sealed_key_cannot_be_passed_off_as_that_of_another_root(ceremony: Ceremony) -> None:
    for change in ({"fingerprint": "00" * 32}, {"threshold": 2}, {"shares": 6}):
        with pytest.raises(KeyAccessError):
            join(msgspec.structs.replace(ceremony.sealed, **change), ceremony.shares[:3])


def test_a_forged_share_that_reads_well_is_found_when_joining(ceremony: Ceremony) -> None:
    true = Share.from_mnemonic(ceremony.shares[0].words)
    fields = {name: getattr(true, name) for name in true.__dataclass_fields__} | {"value": secrets.token_bytes(32)}
    forged = ShareWords("forged.txt", 1, Share(**fields).mnemonic())
    with pytest.raises(KeyAccessError, match=r"do not match: forged.txt, share 2, share 3"):
        join(ceremony.sealed, (forged, *ceremony.shares[1:3]))


def test_a_sheet_is_read_again_whatever_a_typist_does_to_it(ceremony: Ceremony) -> None:
    for share in ceremony.shares:
        sheet = write_sheet(ceremony.sealed, share, "Zoë Łoś", at=NOW)
        assert sheet.isascii()
        assert max(map(len, sheet.splitlines())) < 90
        words = share.words.split()
        forms = [
            sheet,
            sheet.replace("\n", "\r\n"),
            sheet.upper().replace("SHA", "sha"),
            share.words,
            "\n".join(words),
            " ".join(word[:4] for word in words),
            "\n".join(f"{at}. {word}" for at, word in enumerate(words, 1)),
        ]
        for form in forms:
            assert read_sheet("a", form.encode(), ceremony.sealed).words == share.words
            assert read_sheet("a", form.encode(), ceremony.sealed).number == share.number


def test_the_sheet_says_whose_share_of_what_it_is(ceremony: Ceremony) -> None:
    sheet = write_sheet(ceremony.sealed, ceremony.shares[1], "Ada", at=NOW)
    assert sheet.startswith("KEY SHARE 2 OF 5\n")
    assert "Any 3 of 5" in sheet
    assert "CN=V2G Engine V2G ROOT" in sheet
    assert f"{NOW:%Y-%m-%d}" in sheet
    digits = "".join(line.split()[-1] for line in sheet.splitlines() if line.count(":") == 7).replace(":", "")
    assert digits == fingerprint(ceremony.certificate)


@given(st.data())
def test_a_wrong_or_swapped_word_is_always_found(ceremony: Ceremony, data: st.DataObject) -> None:
    share = data.draw(st.sampled_from(ceremony.shares))
    words = share.words.split()
    at = data.draw(st.integers(0, 32))
    if data.draw(st.booleans()):
        words[at] = data.draw(st.sampled_from(ceremony.shares[0].words.split()))
    else:
        other = data.draw(st.integers(0, 32))
        words[at], words[other] = words[other], words[at]
    if words == share.words.split():
        return
    with pytest.raises(KeyAccessError, match=r"ada.txt: (its checksum|belongs to set)"):
        read_words("ada.txt", words, ceremony.sealed)


def test_a_misspelt_missing_or_repeated_word_is_named_with_its_place(ceremony: Ceremony) -> None:
    words = ceremony.shares[0].words.split()
    sheet = write_sheet(ceremony.sealed, ceremony.shares[0], "", at=NOW)
    wrong = [*words[:6], "xyzzy", *words[7:]]
    with pytest.raises(KeyAccessError, match=r"a.txt: word 7, 'xyzzy', is not in the list"):
        read_words("a.txt", wrong, ceremony.sealed)
    near = [*words[:6], words[6] + "x", *words[7:]]
    with pytest.raises(KeyAccessError) as error:
        read_words("a.txt", near, ceremony.sealed)
    assert words[6] in error.value.hint
    with pytest.raises(KeyAccessError, match="32 words instead of 33"):
        read_words("a.txt", words[:-1], ceremony.sealed)
    with pytest.raises(KeyAccessError, match=r"a.txt: word 33 is missing"):
        read_sheet("a.txt", sheet.replace(f"33 {words[32]}", "").encode(), ceremony.sealed)
    with pytest.raises(KeyAccessError, match=r"a.txt: word 1 is listed twice"):
        read_sheet("a.txt", sheet.replace(f"33 {words[32]}", f"1 {words[32]}").encode(), ceremony.sealed)


def test_words_never_show_in_messages(ceremony: Ceremony) -> None:
    assert ceremony.shares[0].words.split()[5] not in repr(ceremony.shares[0])


def test_a_key_of_another_root_is_not_sealed(pki: PkiTree, ceremony: Ceremony) -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    with pytest.raises(KeyAccessError, match="not the key of"):
        split(key, ceremony.certificate, threshold=3, shares=5, entropy=secrets.token_bytes)


def test_mutated_sealed_keys_and_sheets_are_read_or_refused(ceremony: Ceremony) -> None:
    chance = random.Random(4)
    sealed = msgspec.json.encode(ceremony.sealed)
    sheet = write_sheet(ceremony.sealed, ceremony.shares[0], "Ada", at=NOW).encode()
    for _ in range(300):
        with contextlib.suppress(KeyAccessError):
            assert same(join(read_sealed(mutated([sealed], chance)), ceremony.shares[:3]), ceremony.key)
        with contextlib.suppress(KeyAccessError):
            assert read_sheet("a", mutated([sheet], chance), ceremony.sealed).words == ceremony.shares[0].words
