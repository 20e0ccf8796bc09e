"""References to private keys in configuration and command line: a file, or an object in a store.

::

    keys/secc.key                                              a file, PEM
    file:keys/secc.key?pin-source=credential:secc              the same, encrypted; or a TPM's key file
    pkcs11:token=v2g;object=secc?pin-source=file:/etc/v2g/pin  an object of a PKCS#11 token (RFC 7512)
    handle:0x81000001?pin-source=env:TPM_PIN                   a persistent key of the TPM

The part before `?` identifies the key, the part after it the access to it. A PIN or passphrase itself is never part of
reference, since references are in configuration files, process lists and logs.
"""

import re
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote, unquote_to_bytes

import msgspec

Scheme = Literal["file", "pkcs11", "handle"]

_SCHEMES: Final = ("file", "pkcs11", "handle")
_PKCS11: Final = ("token", "object", "id", "serial", "manufacturer", "model", "type")
_OPTIONS: Final[dict[Scheme, tuple[str, ...]]] = {
    "file": ("pin-source", "tcti"),
    "pkcs11": ("pin-source", "module-path"),
    "handle": ("pin-source", "tcti"),
}
_PERSISTENT: Final = range(0x81000000, 0x82000000)


class PinSource(msgspec.Struct, frozen=True):
    """Source of a PIN or passphrase: a file of mode 0600, an environment variable, or a systemd credential."""

    kind: Literal["file", "env", "credential"]
    name: str
    """Path, variable, or name of the credential."""


class KeyReference:
    """Reference to a private key; see the module. Created by `from_text`; compares by value, prints as written."""

    __slots__ = ("_text", "options", "path", "pin", "pkcs11", "scheme")

    def __init__(
        self,
        text: str,
        scheme: Scheme,
        *,
        path: Path | None = None,
        pkcs11: dict[str, bytes] | None = None,
        pin: PinSource | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        self._text = text
        self.scheme: Final = scheme
        self.path: Final = path
        """The file, for `file`."""
        self.pkcs11: Final = pkcs11 or {}
        """Attributes that token and object must have, for `pkcs11`."""
        self.pin: Final = pin
        self.options: Final = options or {}
        """Other options after `?`: `module-path` (PKCS#11 library), `tcti` (access to the TPM)."""

    @classmethod
    def of(cls, path: Path) -> "KeyReference":
        """Return the reference to a file."""
        return cls(str(path), "file", path=path)

    @classmethod
    def from_text(cls, text: str, folder: Path) -> "KeyReference":
        """Return the reference in `text`; file names are relative to `folder`. Raises ValueError with a description."""
        if not text or "\0" in text:
            raise ValueError("Expected a file name or a key URI")
        scheme = next((each for each in _SCHEMES if text.startswith(f"{each}:")), None)
        if scheme is None:
            if re.match(r"[a-z][a-z0-9+.-]+:", text) and not (folder / text).exists():
                raise ValueError(f"Expected a file name, file:, pkcs11: or handle:, got `{text.split(':')[0]}:`")
            return cls.of(folder / text)
        what, _, behind = text.removeprefix(f"{scheme}:").partition("?")
        options = _pairs(behind, "&", known=_OPTIONS[scheme])  # type: ignore[index]
        pin = _pin(options.pop("pin-source", None), folder)
        plain = {name: value.decode() for name, value in options.items()}
        match scheme:
            case "file":
                path = folder / unquote_to_bytes(what).decode()
                return cls(text, "file", path=path, pin=pin, options=plain)
            case "pkcs11":
                attributes = _pairs(what, ";", known=_PKCS11)
                if attributes.pop("type", b"private") != b"private":
                    raise ValueError("Expected type=private")
                if not attributes.keys() & {"object", "id"}:
                    raise ValueError("Expected object= or id=, to identify the key in the token")
                return cls(text, "pkcs11", pkcs11=attributes, pin=pin, options=plain)
        if not re.fullmatch(r"0x[0-9a-fA-F]{8}", what) or int(what, 16) not in _PERSISTENT:
            raise ValueError("Expected a persistent handle like handle:0x81000001")
        return cls(text, "handle", pin=pin, options=plain)

    @property
    def handle(self) -> str:
        """The TPM's handle as it was written, for `handle`."""
        return self._text.removeprefix("handle:").partition("?")[0]

    def called(self, label: bytes) -> "KeyReference":
        """Return the reference to another object of the same token, by its label."""
        what, mark, behind = self._text.removeprefix("pkcs11:").partition("?")
        parts = [part for part in what.split(";") if part and not part.startswith(("object=", "id="))]
        text = "pkcs11:" + ";".join((*parts, f"object={quote(label, safe='')}")) + mark + behind
        others = {name: value for name, value in self.pkcs11.items() if name not in ("object", "id")}
        return KeyReference(text, "pkcs11", pkcs11={**others, "object": label}, pin=self.pin, options=self.options)

    def at(self, path: Path) -> "KeyReference":
        """Return the reference to another file with the same access."""
        _, mark, behind = self._text.partition("?")
        return KeyReference(f"file:{path}{mark}{behind}", "file", path=path, pin=self.pin, options=self.options)

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"KeyReference({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeyReference) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[str, Path | None, PinSource | None]:
        return self._text, self.path, self.pin


def _pairs(text: str, separator: str, *, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for pair in filter(None, text.split(separator)):
        name, equals, value = pair.partition("=")
        if name == "pin-value":
            raise ValueError("A PIN is not allowed here; use pin-source=file:…, env:… or credential:…")
        if not equals or name not in known:
            raise ValueError(f"Unknown key attribute `{name}`; known here: {', '.join(known)}")
        if name in found:
            raise ValueError(f"`{name}` is listed twice")
        found[name] = unquote_to_bytes(value)
    return found


def _pin(source: bytes | None, folder: Path) -> PinSource | None:
    if source is None:
        return None
    kind, colon, name = source.decode().partition(":")
    match kind if colon else "file", name if colon else kind:
        case "env", name if name:
            return PinSource("env", name)
        case "credential", name if name and "/" not in name:
            return PinSource("credential", name)
        case "file", name if name and not name.startswith("|"):  # a command in RFC 7512; none is run here
            return PinSource("file", str(folder / name))
    raise ValueError("Expected pin-source=file:…, env:… or credential:…")
