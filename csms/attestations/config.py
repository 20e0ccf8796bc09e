"""The keys of `[attestation]`."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec


class AttestedRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A release that stations may run."""

    manifest: Path
    """Its manifest, as the packages install it; the signature has the same name and `.sig`."""
    registers: Path | None = None
    """Evidence (`v2g attest quote`) of a station that is whole: others must have the same registers."""


class AttestationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Attestation of stations by their TPMs, for those that are enrolled (`v2g csms attestation enrol`)."""

    signer: Path
    """Public key, or certificate, of the manifests' signer, PEM."""
    releases: Annotated[tuple[AttestedRelease, ...], msgspec.Meta(min_length=1, max_length=1000)]
    """The releases."""
    every_s: Annotated[float, msgspec.Meta(ge=1, le=604_800)] = 3600.0
    """Time between questions to a station that is whole."""
    answer_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 900.0
    """How long a station has to answer: it reads its files slowly."""
    discharge: Literal["refused", "permitted"] = "refused"
    """Whether a station that fails, or does not answer, may still feed back. It may charge in any case."""
