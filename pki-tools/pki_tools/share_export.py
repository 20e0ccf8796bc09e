"""Shares on paper: one plain-text sheet for each holder, to be printed, stored separately, and typed or scanned."""

import re
from datetime import datetime
from typing import Final

from pki_tools.ceremony import WORDS, Sealed, ShareWords, read_words
from v2g.errors import KeyAccessError

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
