"""Options of sealed contract keys, separate from their implementation."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta


class EnvelopeRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ambiguities in the standard's public sources. The defaults follow the majority of them.

    None was confirmed by a test vector of a production back end.
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
        Meta(description="where an X448 public key of 56 bytes is padded to 133; both are accepted"),
    ] = "left"


RULES: Final = EnvelopeRules()
