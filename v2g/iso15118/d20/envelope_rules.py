"""What is open about sealed contract keys: a declaration for configurations, which need not load what seals."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta


class EnvelopeRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the standard's public sources leave open or disagree on. The defaults are what most of them say.

    None of it was confirmed by a vector of a production back end.
    """

    other_info: Annotated[
        str,
        Meta(pattern=r"^([0-9A-Fa-f]{2})*\Z", description="OtherInfo of the key derivation, hex: algorithm, 'U', 'V'"),
    ] = "015556"
    key_identifier: Annotated[
        Literal["text", "bytes"],
        Meta(description="SubjectKeyIdentifier in the additional data: upper-case hex text, or raw bytes"),
    ] = "text"
    x448_padding: Annotated[
        Literal["left", "right"],
        Meta(description="where an X448 public key of 56 bytes is filled to 133; both are taken"),
    ] = "left"


RULES: Final = EnvelopeRules()
