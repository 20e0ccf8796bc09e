"""Quotes of a TPM's registers, by tpm2-tools: the OpenSSL provider, which the other keys use, has none (R148)."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from v2g.errors import ConfigError, KeyAccessError
from v2g.pki.reference import KeyReference
from v2g.text import printable

_SECONDS: Final = 30.0
_SHA256_BYTES: Final = 32


class Quoted(NamedTuple):
    """A quote (TPMS_ATTEST), its signature (ECDSA in DER), and the registers' values, hexadecimal."""

    quote: bytes
    signature: bytes
    registers: dict[int, str]


def quote_registers(key: KeyReference, registers: Sequence[int], binding: bytes) -> Quoted:
    """Have a TPM sign its registers (SHA-256 bank) and up to 32 octets, by a persistent restricted key.

    Blocking, about a second. Raises ConfigError for other keys or without tpm2-tools, KeyAccessError of the TPM.
    """
    if key.scheme != "handle":
        raise ConfigError(f"{key} cannot quote", hint="a persistent key of a TPM, such as handle:0x81010002")
    tool = shutil.which("tpm2_quote")
    if tool is None:
        raise ConfigError("tpm2_quote is not installed", hint="Debian: apt-get install tpm2-tools")
    numbers = sorted(set(registers))
    tcti = key.options.get("tcti", os.environ.get("TPM2TOOLS_TCTI", ""))
    with tempfile.TemporaryDirectory(prefix="v2g-quote-") as folder:
        files = [Path(folder) / name for name in ("quote", "signature", "registers")]
        command = [tool, "-c", str(key.handle), "-l", f"sha256:{','.join(map(str, numbers))}", "-q", binding.hex()]
        command += ["-g", "sha256", "-f", "plain", "-F", "values"]
        command += ["-m", str(files[0]), "-s", str(files[1]), "-o", str(files[2])]
        environment = {**os.environ, **({"TPM2TOOLS_TCTI": tcti} if tcti else {})}
        try:
            done = subprocess.run(  # noqa: S603 - numbers, hexadecimal and files of our own
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise KeyAccessError(f"{key}: no quote within {_SECONDS:.0f} s") from None
        if done.returncode:
            reason = printable(done.stderr.decode(errors="replace").partition("\n")[0])[:200]
            raise KeyAccessError(f"{key}: {reason}", hint="may this user access /dev/tpmrm0? see ?tcti=")
        quote, signature, values = (each.read_bytes() for each in files)
    if len(values) != _SHA256_BYTES * len(numbers):
        raise KeyAccessError(f"{key}: tpm2_quote wrote {len(values)} octets for {len(numbers)} registers")
    found = {
        number: values[_SHA256_BYTES * place : _SHA256_BYTES * (place + 1)].hex()
        for place, number in enumerate(numbers)
    }
    return Quoted(quote, signature, found)
