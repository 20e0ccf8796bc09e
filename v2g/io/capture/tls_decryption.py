"""Decrypting a recorded TLS connection with its key log: TLS 1.3 (RFC 8446, 5 and 7), and TLS 1.2 as ISO 15118-2 has it
(RFC 5246, 6; RFC 7366).

For recordings only: apart from decryption nothing is verified or trusted.
"""

import hmac
from collections.abc import Iterator, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from v2g.errors import FrameError

Secrets = Mapping[bytes, Mapping[str, bytes]]
"""Random of a ClientHello -> name of a secret in the key log -> secret."""

_CHANGE, _HANDSHAKE, _DATA = 20, 22, 23
_CLIENT_HELLO, _SERVER_HELLO, _FINISHED, _KEY_UPDATE = 1, 2, 20, 24
_SIDES: Final = ("CLIENT", "SERVER")

_SUITES: Final[Mapping[int, tuple[type[AESGCM] | type[ChaCha20Poly1305], int, hashes.HashAlgorithm]]] = {
    0x1301: (AESGCM, 16, hashes.SHA256()),
    0x1302: (AESGCM, 32, hashes.SHA384()),
    0x1303: (ChaCha20Poly1305, 32, hashes.SHA256()),
}
"""Cipher suite -> AEAD, length of its key, hash."""

_CBC_SUITES: Final = frozenset({0xC023, 0xC025})
"""ECDHE and ECDH with ECDSA, AES-128-CBC and SHA-256."""

_MASTER: Final = "CLIENT_RANDOM"
_ENCRYPT_THEN_MAC: Final = 22
_MAC_SIZE, _KEY_SIZE, _BLOCK = 32, 16, 16


def key_log(text: bytes) -> dict[bytes, dict[str, bytes]]:
    """Return the secrets in lines of a key log; other lines are skipped."""
    found: dict[bytes, dict[str, bytes]] = {}
    for line in text.splitlines():
        parts = line.split()
        try:
            name, random, secret = parts[0].decode("ascii"), bytes.fromhex(parts[1].decode()), parts[2].decode()
            found.setdefault(random, {})[name] = bytes.fromhex(secret)
        except (IndexError, ValueError):
            continue
    return found


class OpenedConnection:
    """One connection: takes the bytes of each side, in order, and yields plaintext.

    `missing` says why there is no plaintext, or is empty.
    """

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._mine: Mapping[str, bytes] = {}
        self._suite = 0
        self._buffers = (bytearray(), bytearray())
        self._handshakes = (bytearray(), bytearray())
        self._keys: list[_Keys | _CbcKeys | None] = [None, None]
        self._coming: tuple[_CbcKeys | None, _CbcKeys | None] = (None, None)  # from ChangeCipherSpec on
        self._random = b""
        self.missing = "no handshake was recorded"

    def feed(self, side: int, data: bytes) -> Iterator[bytes]:
        """Take bytes of the client (0) or the server (1); yield plaintext. Raises FrameError for undecryptable ones."""
        buffer = self._buffers[side]
        buffer += data
        while len(buffer) >= 5 and len(buffer) >= 5 + int.from_bytes(buffer[3:5], "big"):
            end = 5 + int.from_bytes(buffer[3:5], "big")
            record = bytes(buffer[:end])
            del buffer[:end]
            kind, payload = record[0], record[5:]
            if kind == _CHANGE and self._coming[side] is not None:
                self._keys[side] = self._coming[side]
            elif kind == _DATA or isinstance(self._keys[side], _CbcKeys):
                if self.missing:
                    return
                keys = self._keys[side]
                if keys is None:
                    raise FrameError("encrypted before both hellos")
                kind, payload = keys.open(record)
                if kind == _DATA:
                    yield payload
            if kind == _HANDSHAKE:
                self._handshake(side, payload)

    def _handshake(self, side: int, data: bytes) -> None:
        buffer = self._handshakes[side]
        buffer += data
        while len(buffer) >= 4 and len(buffer) >= 4 + int.from_bytes(buffer[1:4], "big"):
            end = 4 + int.from_bytes(buffer[1:4], "big")
            kind, body = buffer[0], bytes(buffer[4:end])
            del buffer[:end]
            if kind == _CLIENT_HELLO:
                self._random = body[2:34]
                self._mine = self._secrets.get(self._random, {})
                self.missing = "" if self._mine else "the recording holds no secrets of it"
            elif kind == _SERVER_HELLO:
                after_session = 35 + body[34] if len(body) > 34 else 0
                self._suite = int.from_bytes(body[after_session : after_session + 2], "big")
                if self._suite in _CBC_SUITES and _MASTER in self._mine:
                    then = _ENCRYPT_THEN_MAC in _extensions(body[after_session + 3 :])
                    self._coming = _cbc_keys(self._mine[_MASTER], body[2:34] + self._random, encrypt_then_mac=then)
                    continue
                for each in (0, 1):
                    self._use(each, f"{_SIDES[each]}_HANDSHAKE_TRAFFIC_SECRET")
            elif kind == _FINISHED and self._coming[side] is None:
                self._use(side, f"{_SIDES[side]}_TRAFFIC_SECRET_0")
            elif kind == _KEY_UPDATE and isinstance(keys := self._keys[side], _Keys):
                self._keys[side] = keys.following()

    def _use(self, side: int, name: str) -> None:
        if self._suite not in _SUITES or name not in self._mine:
            if self._suite not in _SUITES.keys() | _CBC_SUITES:
                known = ", ".join(f"{each:#06x}" for each in sorted(_CBC_SUITES))
                why = f"cipher suite {self._suite:#06x} is not read: of TLS 1.2 only {known}"
            else:
                why = f"the recording's secrets lack {_MASTER if self._suite in _CBC_SUITES else name}"
            self.missing = self.missing or why
            return
        self._keys[side] = _Keys(self._suite, self._mine[name])


class _Keys:
    """Keys of one direction (RFC 8446, 7.3)."""

    def __init__(self, suite: int, secret: bytes) -> None:
        aead, size, self._hash = _SUITES[suite]
        self._suite, self._secret = suite, secret
        self._aead = aead(self._expand("key", size))
        self._iv = int.from_bytes(self._expand("iv", 12), "big")
        self._number = 0

    def open(self, record: bytes) -> tuple[int, bytes]:
        """Return the kind and content of an encrypted record. Raises FrameError."""
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        try:
            plain = self._aead.decrypt(nonce, record[5:], record[:5]).rstrip(b"\0")
        except (InvalidTag, ValueError):
            raise FrameError("a record cannot be decrypted with the recorded secrets") from None
        return (plain[-1], plain[:-1]) if plain else (0, b"")

    def following(self) -> "_Keys":
        """Return the keys after an update."""
        return _Keys(self._suite, self._expand("traffic upd", self._hash.digest_size))

    def _expand(self, label: str, length: int) -> bytes:
        name = b"tls13 " + label.encode()
        info = length.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
        return HKDFExpand(self._hash, length, info).derive(self._secret)


class _CbcKeys:
    """Keys of one direction of TLS 1.2 with AES-CBC and HMAC (RFC 5246, 6.2.3.2)."""

    def __init__(self, mac_key: bytes, key: bytes, *, encrypt_then_mac: bool) -> None:
        self._mac_key, self._key, self._then = mac_key, key, encrypt_then_mac
        self._number = 0

    def open(self, record: bytes) -> tuple[int, bytes]:
        """Return the kind and content of an encrypted record. Raises FrameError."""
        body, mac = (record[5:-_MAC_SIZE], record[-_MAC_SIZE:]) if self._then else (record[5:], b"")
        if len(body) < 2 * _BLOCK or len(body) % _BLOCK:
            raise FrameError(f"a record of {len(record)} bytes is too short, or no multiple of a block")
        decryptor = Cipher(AES(self._key), CBC(body[:_BLOCK])).decryptor()
        plain = decryptor.update(body[_BLOCK:]) + decryptor.finalize()
        content = plain[: max(0, len(plain) - 1 - plain[-1])]
        if not self._then:
            content, mac = content[:-_MAC_SIZE], content[-_MAC_SIZE:]
        covered = body if self._then else content
        head = self._number.to_bytes(8, "big") + record[:3] + len(covered).to_bytes(2, "big")
        self._number += 1
        if hmac.digest(self._mac_key, head + covered, "sha256") != mac:
            raise FrameError("a record cannot be decrypted with the recorded secrets")
        return record[0], content


def _cbc_keys(master: bytes, randoms: bytes, *, encrypt_then_mac: bool) -> tuple[_CbcKeys, _CbcKeys]:
    """Return the keys of client and server; `randoms` are the server's and the client's (RFC 5246, 5 and 6.3)."""
    seed = b"key expansion" + randoms
    chained, block = seed, b""
    while len(block) < 2 * (_MAC_SIZE + _KEY_SIZE):
        chained = hmac.digest(master, chained, "sha256")
        block += hmac.digest(master, chained + seed, "sha256")
    macs, keys = block[: 2 * _MAC_SIZE], block[2 * _MAC_SIZE : 2 * (_MAC_SIZE + _KEY_SIZE)]
    client, server = (
        _CbcKeys(
            macs[side * _MAC_SIZE : (side + 1) * _MAC_SIZE],
            keys[side * _KEY_SIZE : (side + 1) * _KEY_SIZE],
            encrypt_then_mac=encrypt_then_mac,
        )
        for side in (0, 1)
    )
    return client, server


def _extensions(data: bytes) -> set[int]:
    """Return the kinds of extensions in the end of a ServerHello."""
    found, at = set(), 2
    while len(data) - at >= 4:
        found.add(int.from_bytes(data[at : at + 2], "big"))
        at += 4 + int.from_bytes(data[at + 2 : at + 4], "big")
    return found
