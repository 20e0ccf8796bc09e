"""The charger's attestation of itself: files that differ from their signed manifest lock it until serviced (R148)."""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from v2g.errors import ConfigError, V2GError
from v2g.io.keys.quotes import quote_registers
from v2g.io.runtime.attestation import Attestation, FileDifference, measure
from v2g.io.runtime.disk import DiskThread
from v2g.io.storage.journal_file import write_files
from v2g.io.storage.kept_file import read_kept
from v2g.observe import Observe
from v2g.pki.keys import load_public_key
from v2g.pki.quote import QuoteEvidence, binding
from v2g.pki.reference import KeyReference
from v2g.text import printable

MOST_DIFFERENCES: Final = 100
"""How many differences a back end gets: the message has a limit."""

_MOST_CHARACTERS: Final = 300

FILE: Final = "attestation.json"
"""In data_dir: the highest version of a manifest so far."""


MANIFEST: Final = Path("/usr/share/v2g-engine/manifest.json")
"""Where packages install it."""


class QuoteConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Evidence for a back end that asks for it: what was measured, signed by a TPM."""

    key: Annotated[
        KeyReference, Meta(description="restricted key of the TPM, which signs quotes only, such as handle:0x81010002")
    ]
    registers: Annotated[
        tuple[Annotated[int, Meta(ge=0, le=23)], ...],
        Meta(min_length=1, max_length=24, description="platform configuration registers that are quoted"),
    ] = tuple(range(8))


class SelfAttestationConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Comparison of the program's files with their signed manifest, at each start and ever after."""

    public_key: Annotated[Path, Meta(description="public key, or certificate, of the manifest's signer, PEM")]
    manifest: Annotated[Path, Meta(description="the manifest; its signature has the same name and `.sig`")] = (
        msgspec.field(default_factory=lambda: MANIFEST)  # a JSON schema holds no Path
    )
    kib_per_s: Annotated[
        int, Meta(ge=64, le=1_048_576, description="how much of the files is read per second, KiB")
    ] = 512
    quote: Annotated[
        QuoteConfig | None, Meta(description="evidence for the back end, signed by a TPM; none: it gets none")
    ] = None


class _Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int


class _Ended(Exception):
    """The program ends."""


class SelfAttestation:
    """Compares in a thread of its own. `lock` is called once, in the event loop, with the first difference."""

    def __init__(
        self,
        config: SelfAttestationConfig,
        folder: Path,
        *,
        observe: Callable[[Observe], None],
        lock: Callable[[str], None],
    ) -> None:
        """`folder` has the highest version so far. Raises KeyAccessError, and StoreError for an unreadable file."""
        self._config, self._folder, self._observe, self._lock = config, folder, observe, lock
        self._attestation = Attestation(config.manifest, load_public_key(config.public_key))
        self._least = _highest(folder)
        self._ending = threading.Event()
        self._thread, self._quoting = DiskThread(), DiskThread()
        self._locked = False

    async def begin(self) -> None:
        """Compare everything once, as fast as possible: no vehicle is served before."""
        await self._once(self._stop_if_ending)

    async def run(self) -> None:
        """Compare at the configured speed, again and again, until there is a difference or the program ends."""
        while not (self._locked or self._ending.is_set()):
            await self._once(self._pace())

    async def close(self) -> None:
        """End a comparison."""
        self._ending.set()
        await self._thread.close()
        await self._quoting.close()

    async def evidence(self, nonce: bytes) -> dict[str, object] | None:
        """Return evidence for a back end's random number, or the error that prevents it; None if the program ends."""
        try:
            made = await self._quoting.ask(partial(self._evidence, nonce))
        except _Ended:
            return None
        except V2GError as error:
            return {"error": printable(str(error))[:_MOST_CHARACTERS]}
        return made

    def _evidence(self, nonce: bytes) -> dict[str, object]:
        config = self._config
        if config.quote is None:
            raise ConfigError("attestation.quote is not set")
        report = measure(config.manifest, load_public_key(config.public_key), pause=self._pace())
        first = report.differences[:MOST_DIFFERENCES]
        data = msgspec.json.encode(msgspec.structs.replace(report, differences=first))
        quoted = quote_registers(config.quote.key, config.quote.registers, binding(nonce, data))
        made = QuoteEvidence(
            report=data.decode(), registers=quoted.registers, quote=quoted.quote, signature=quoted.signature
        )
        found: dict[str, object] = msgspec.to_builtins(made, str_keys=True)
        return found

    async def _once(self, pause: Callable[[int], None]) -> None:
        try:
            found = await self._thread.ask(partial(self._first, pause))
        except _Ended:
            return
        if found is not None and not self._locked:
            self._locked = True
            self._observe(Observe("program", "changed", {"difference": found.kind, "file": printable(found.path)}))
            self._lock(f"{found.kind}: {printable(found.path)}")

    def _first(self, pause: Callable[[int], None]) -> FileDifference | None:
        """Return the first difference; without any the version counts as seen."""
        for difference in self._attestation.differences(self._least, pause):
            return difference
        manifest = self._attestation.manifest()
        if isinstance(manifest, FileDifference):
            return manifest
        if manifest.version > self._least:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_files(self._folder, {FILE: msgspec.json.encode(_Seen(manifest.version))}, private=True)
            self._least = manifest.version
        return None

    def _stop_if_ending(self, _read: int) -> None:
        if self._ending.is_set():
            raise _Ended

    def _pace(self) -> Callable[[int], None]:
        """Return what waits so that no more than the configured amount is read per second."""
        due = time.monotonic()

        def pause(read: int) -> None:
            nonlocal due
            due = max(due, time.monotonic() - 1) + read / (self._config.kib_per_s * 1024)
            if self._ending.wait(max(0.0, due - time.monotonic())):
                raise _Ended

        return pause


def _highest(folder: Path) -> int:
    seen = read_kept(folder / FILE, _Seen, hint="was the file replaced? Service the charger")
    return 0 if seen is None else seen.version
