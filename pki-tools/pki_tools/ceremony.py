"""Keys shared by several people: sealed with a random key whose shares go to the holders (SLIP-39).

The private key (PKCS #8), of a root or of a signer of releases, is encrypted by AES-256-GCM with a random 256-bit
key. That key is split by Shamir's scheme, any k shares of n restoring it; fewer reveal nothing about it. Shares are
words on paper (`share_export`). This module neither reads nor writes files, and keeps secrets no longer than needed, as
far as Python allows.
"""

import base64
import difflib
import hashlib
import itertools
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics
from shamir_mnemonic.share import Share
from shamir_mnemonic.wordlist import WORDLIST

from v2g import typed_json
from v2g.errors import ConfigError, KeyAccessError
from v2g.pki.keys import PrivateKey

FORMAT: Final = "v2g-sealed-key"
MAX_SHARES: Final = 16
"""Limit of SLIP-39."""

MAX_SEALED_BYTES: Final = 64 * 1024
WORDS: Final = 33
"""Words of a share: 256 bits, set data, and a checksum."""

_MAX_TRIALS: Final = 120
_SIGNIFICANT: Final = 4  # letters that identify a word in SLIP-39


class Sealed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key that only its shares open. All of it may be public; without them the ciphertext is useless."""

    format: str = FORMAT
    version: int = 1
    subject: str  # of the root certificate, RFC 4514; or the key's name
    fingerprint: str  # SHA-256 of the certificate, or of the public key; hexadecimal
    threshold: int
    shares: int
    identifier: int  # of the set of shares
    nonce: str  # 12 bytes, hexadecimal
    ciphertext: str  # base64

    @property
    def associated(self) -> bytes:
        """The authenticated data, which binds the key to its certificate or public key."""
        return f"{self.format} {self.version} {self.fingerprint} {self.threshold} {self.shares}".encode()


class ShareWords(msgspec.Struct, frozen=True):
    """One share: its source, its number (1 to n) and its words."""

    source: str
    number: int
    words: str

    def __repr__(self) -> str:
        """Return a form without the words."""
        return f"ShareWords({self.source}, {self.number})"

    @property
    def mark(self) -> str:
        """Eight digits that identify a share without revealing it."""
        return hashlib.sha256(self.words.encode()).hexdigest()[:8]


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate, hexadecimal."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def split(
    key: PrivateKey, owner: x509.Certificate | str, *, threshold: int, shares: int, entropy: Callable[[int], bytes]
) -> tuple[Sealed, tuple[ShareWords, ...]]:
    """Return the sealed key and the shares that open it. `owner`: the key's certificate, or a name if it has none.

    Raises ConfigError unless 2 <= threshold <= shares <= 16, KeyAccessError for one of another certificate.
    """
    if not 2 <= threshold <= shares <= MAX_SHARES:
        raise ConfigError(
            f"{threshold} of {shares} shares is not possible",
            hint=f"from 2 to as many shares as there are, at most {MAX_SHARES}",
        )
    if isinstance(owner, str):
        spki = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        subject, digest = owner, hashlib.sha256(key.public_key().public_bytes(*spki)).hexdigest()
    else:
        subject, digest = owner.subject.rfc4514_string(), fingerprint(owner)
        if key.public_key() != owner.public_key():
            raise KeyAccessError(f"not the key of {subject}")
    secret, nonce = entropy(32), entropy(12)
    (words,) = generate_mnemonics(1, [(threshold, shares)], secret, iteration_exponent=0)
    sealed = Sealed(
        subject=subject,
        fingerprint=digest,
        threshold=threshold,
        shares=shares,
        identifier=Share.from_mnemonic(words[0]).identifier,
        nonce=nonce.hex(),
        ciphertext="",
    )
    plain = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    ciphertext = base64.b64encode(AESGCM(secret).encrypt(nonce, plain, sealed.associated)).decode()
    sealed = msgspec.structs.replace(sealed, ciphertext=ciphertext)
    return sealed, tuple(ShareWords(f"share {at}", at, text) for at, text in enumerate(words, 1))


def try_all(sealed: Sealed, shares: Sequence[ShareWords], public_key: object) -> int:
    """Join every combination of shares, at most 120 with every share in one of them; return how many.

    Raises KeyAccessError unless each gives the key of `public_key`.
    """
    size = sealed.threshold
    combinations = itertools.combinations(shares, size)
    chosen = list(itertools.islice(combinations, _MAX_TRIALS + 1))
    if len(chosen) > _MAX_TRIALS:
        around = [*shares, *shares]
        chosen = [tuple(around[at : at + size]) for at in range(len(shares))]
    for each in chosen:
        if join(sealed, each).public_key() != public_key:
            raise KeyAccessError("the shares join to another key")
    return len(chosen)


def read_sealed(data: bytes) -> Sealed:
    """Return a sealed key. Raises KeyAccessError for an invalid one."""
    if len(data) > MAX_SEALED_BYTES:
        raise KeyAccessError(f"{len(data)} bytes is not the size of a sealed key")
    try:
        sealed = typed_json.decode(data, Sealed)
        bytes.fromhex(sealed.nonce), bytes.fromhex(sealed.fingerprint), base64.b64decode(sealed.ciphertext)
    except (msgspec.DecodeError, ValueError) as error:
        raise KeyAccessError(f"not a sealed key: {error}") from None
    counts = 2 <= sealed.threshold <= sealed.shares <= MAX_SHARES
    if sealed.format != FORMAT or sealed.version != 1 or len(sealed.nonce) != 24 or not counts:
        raise KeyAccessError("unknown kind of sealed key")
    return sealed


def read_words(source: str, words: Sequence[str], sealed: Sealed) -> ShareWords:
    """Return the share with these words; four letters of each suffice.

    Raises KeyAccessError with `source` and the error: a word, the checksum, or a share of another key.
    """
    if len(words) != WORDS:
        raise KeyAccessError(f"{source}: {len(words)} words instead of {WORDS}", hint="copy all words of the share")
    full = " ".join(_word(source, at, word) for at, word in enumerate(words, 1))
    try:
        share = Share.from_mnemonic(full)
    except MnemonicError as error:
        if "checksum" not in str(error):
            raise KeyAccessError(f"{source}: {error}") from None
        raise KeyAccessError(
            f"{source}: its checksum does not match",
            hint="a word is wrong or in the wrong place: compare with the paper",
        ) from None
    if share.identifier != sealed.identifier:
        raise KeyAccessError(
            f"{source}: belongs to set {share.identifier}, not to {sealed.identifier}",
            hint="it is a share of another key, or of an earlier split of this one",
        )
    if (share.member_threshold, share.group_count) != (sealed.threshold, 1):
        raise KeyAccessError(f"{source}: is not a {sealed.threshold}-of-{sealed.shares} share")
    return ShareWords(source, share.index + 1, full)


def _word(source: str, at: int, word: str) -> str:
    text = word.strip().lower()
    if text in _INDEX:
        return text
    if len(text) == _SIGNIFICANT and text in _SHORT:
        return _SHORT[text]
    near = difflib.get_close_matches(text, WORDLIST, n=3)
    hint = f"perhaps {' or '.join(near)}" if near else "compare with the paper"
    raise KeyAccessError(f"{source}: word {at}, {text[:20]!r}, is not in the list", hint=hint)


_INDEX: Final = frozenset(WORDLIST)
_SHORT: Final[dict[str, str]] = {word[:_SIGNIFICANT]: word for word in WORDLIST}


def join(sealed: Sealed, shares: Sequence[ShareWords]) -> PrivateKey:
    """Return the key. Raises KeyAccessError for too few, duplicate, or inconsistent shares."""
    by_number: dict[int, ShareWords] = {}
    for share in shares:
        other = by_number.setdefault(share.number, share)
        if other is not share:
            same = "the same" if other.words == share.words else "two different"
            raise KeyAccessError(f"{other.source} and {share.source} are {same} share {share.number}")
    if len(by_number) < sealed.threshold:
        raise KeyAccessError(
            f"{len(by_number)} shares given, {sealed.threshold} needed",
            hint=f"any {sealed.threshold} of the {sealed.shares} holders",
        )
    used = tuple(by_number.values())[: sealed.threshold]
    try:
        secret = combine_mnemonics([share.words for share in used])
    except MnemonicError:
        names = ", ".join(share.source for share in used)
        raise KeyAccessError(
            f"the shares do not match: {names}", hint="one of them is not of this set; try with another"
        ) from None
    try:
        ciphertext = base64.b64decode(sealed.ciphertext)
        plain = AESGCM(secret).decrypt(bytes.fromhex(sealed.nonce), ciphertext, sealed.associated)
        key = serialization.load_der_private_key(plain, None)
    except InvalidTag:
        raise KeyAccessError(
            "the shares do not open the sealed key", hint="the file was changed, or belongs to another set of shares"
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyAccessError(f"the sealed key contains no key: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey | ed448.Ed448PrivateKey):
        raise KeyAccessError("the sealed key is of a kind that cannot sign")
    return key


# Shares on paper: one plain-text sheet for each holder, to be printed, stored separately, and typed or scanned.

MAX_BYTES: Final = 16 * 1024
_COLUMNS: Final = 3
_NUMBERED: Final = re.compile(r"(\d{1,2})[.:)]?\s+([A-Za-z]+)")
_ROW: Final = re.compile(rf"\s*(?:{_NUMBERED.pattern}\s*)+")


def write_sheet(sealed: Sealed, share: ShareWords, holder: str, *, at: datetime) -> str:
    """Return the sheet of one share, in ASCII, for any printer and keyboard."""
    words = [f"{number:2} {word:<12}" for number, word in enumerate(share.words.split(), 1)]
    rows = -(-len(words) // _COLUMNS)
    grid = ["    " + "    ".join(words[row::rows]).rstrip() for row in range(rows)]
    digits = [sealed.fingerprint[start : start + 4] for start in range(0, 64, 4)]
    text = "\n".join(
        (
            f"KEY SHARE {share.number} OF {sealed.shares}",
            "=" * 72,
            f"Any {sealed.threshold} of {sealed.shares} shares open the key; fewer reveal nothing about it.",
            "",
            f"Key          {sealed.subject}",
            f"SHA-256      {':'.join(digits[:8])}",
            f"             {':'.join(digits[8:])}",
            f"Set          {sealed.identifier}  (the same on every share of this key)",
            f"Share        {share.number}, mark {share.mark}",
            f"Holder       {holder or '______________________________'}",
            f"Date         {at:%Y-%m-%d}",
            "",
            "-" * 72,
            *grid,
            "-" * 72,
            "",
            "To check this sheet: v2g pki ceremony check SEALED --share THIS-FILE",
            "The last three words are a checksum over all others: one wrong or swapped word",
            "is always found. The first four letters of a word are enough. Read columns downwards.",
            "Keep this sheet away from the others, from cameras and from computers in a network.",
            "If it is lost or seen: split the key again and destroy the old sealed key.",
            "",
        )
    )
    return text.encode("ascii", "replace").decode()


def read_sheet(source: str, data: bytes, sealed: Sealed) -> ShareWords:
    """Return the share on a sheet, or in a text with only its words. Raises KeyAccessError with `source`."""
    if len(data) > MAX_BYTES:
        raise KeyAccessError(f"{source}: {len(data)} bytes is not the size of a share")
    try:
        text = data.decode("ascii", "strict")
    except UnicodeDecodeError:
        raise KeyAccessError(f"{source}: not a share: its text is not ASCII") from None
    numbered: dict[int, str] = {}
    for line in text.splitlines():
        if _ROW.fullmatch(line):
            for number, word in _NUMBERED.findall(line):
                if int(number) in numbered:
                    raise KeyAccessError(f"{source}: word {number} is listed twice")
                numbered[int(number)] = word
    if not numbered:
        words = re.findall(r"[A-Za-z]+", text) if len(text.split()) <= 2 * WORDS else []
        if not words:
            raise KeyAccessError(f"{source}: no share words found", hint="a sheet, or its 33 words")
        return read_words(source, words, sealed)
    missing = [str(at) for at in range(1, WORDS + 1) if at not in numbered]
    if missing:
        raise KeyAccessError(f"{source}: word {', '.join(missing[:5])} is missing")
    return read_words(source, [numbered[at] for at in sorted(numbered)], sealed)
