"""What several tests of bundle use."""

import hashlib

import msgspec

from tests.energy.settlement.conftest import Session
from v2g.energy.settlement.bundle import JOURNAL, LISTED, MANIFEST, SIGNATURE, FileSum, Manifest, Seal
from v2g.energy.settlement.canonical import canonical


def resealed(session: Session, files: dict[str, bytes], **changed: bytes) -> dict[str, bytes]:
    """A bundle by a charger that lies: files changed, manifest and signature made anew with its own key."""
    files = {**files, **{name.replace("__", "."): data for name, data in changed.items()}}
    old = msgspec.json.decode(files[MANIFEST], type=Manifest)
    sums = {name: FileSum(hashlib.sha256(files[name]).hexdigest(), len(files[name])) for name in LISTED}
    lines = files[JOURNAL].splitlines()
    manifest = canonical(
        msgspec.structs.replace(
            old,
            files=sums,
            journal_entries=len(lines),
            journal_head=msgspec.json.decode(lines[-1])["hash"],
        )
    )
    key = session.charger.key
    seal = Seal(
        algorithm=key.algorithm,
        signer=hashlib.sha256(session.charger.leaf).hexdigest(),
        signature=key.sign(manifest).hex(),
    )
    return {**files, MANIFEST: manifest, SIGNATURE: canonical(seal)}
