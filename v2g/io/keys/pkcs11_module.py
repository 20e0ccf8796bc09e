"""A PKCS#11 library and its tokens, with the operations needed for keys: find, log in, sign, agree, create.

Tokens are used directly and not through OpenSSL: its PKCS#11 engine fails (and crashes) as soon as a token
holds a key of an unknown type, hides which of PIN, token and key is wrong, and is removed in OpenSSL 4;
the provider that replaces it is missing in Debian 12. Of libraries for Python, python-pkcs11 0.10 initializes
modules for one thread only, and logs all sessions with a token out where one is closed; PyKCS11 is under the GPL.
"""

import atexit
import functools
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final

import cffi
import msgspec

from v2g.errors import ConfigError, KeyAccessError
from v2g.io.keys import pkcs11_abi

DEFAULT: Final = "libp11-kit.so.0"
"""p11-kit's proxy, which shows the tokens of all modules that the system has registered."""

Value = bytes | bool | int
Template = Mapping[pkcs11_abi.Attribute, Value]

_MAX_SLOTS: Final = 256
_MAX_VALUE_BYTES: Final = 64 * 1024
_MOST_FOUND: Final = 64
"""Objects in one answer of a token."""


class Pkcs11Token(msgspec.Struct, frozen=True):
    """A token's description of itself."""

    slot: int
    label: bytes
    serial: bytes
    manufacturer: bytes
    model: bytes
    flags: int


class Pkcs11Module:
    """A loaded library; made by `load_module`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.ffi: cffi.FFI = cffi.FFI()
        self.ffi.cdef(pkcs11_abi.CDEF)
        try:
            self._library = self.ffi.dlopen(path)
        except OSError as error:
            hint = "add ?module-path=... or apt-get install libp11-kit0" if path == DEFAULT else "check module-path"
            raise ConfigError(f"no PKCS#11 library {path}: {error}", hint=hint) from None
        functions = self.ffi.new("CK_FUNCTION_LIST **")
        try:
            self._library.C_GetFunctionList(functions)
        except AttributeError:
            raise ConfigError(f"{path} is not a PKCS#11 library", hint="check module-path") from None
        self.functions = functions[0]
        self._refused: set[bytes] = set()
        arguments = self.ffi.new("CK_C_INITIALIZE_ARGS *")
        arguments.flags = pkcs11_abi.Flag.OS_LOCKING_OK
        self.call("Initialize", arguments, fine=(pkcs11_abi.ALREADY_INITIALIZED,))
        atexit.register(self.close)

    def close(self) -> None:
        """Unload the library; nothing of it can be used any more."""
        atexit.unregister(self.close)
        self.functions.Finalize(self.ffi.NULL)

    def call(self, name: str, *arguments: object, fine: Sequence[int] = (), what: str = "") -> int:
        """Call a function; `what` is for error messages. Raises KeyAccessError, caused by a Return."""
        result = int(getattr(self.functions, name)(*arguments))
        if result and result not in fine:
            words = pkcs11_abi.ERRORS.get(result, f"PKCS#11 error 0x{result:x}")
            raise KeyAccessError(f"{what or self.path}: {words}") from Pkcs11Return(result)
        return result

    def tokens(self) -> list[Pkcs11Token]:
        """Return the tokens present."""
        ffi = self.ffi
        count = ffi.new("CK_ULONG *", _MAX_SLOTS)
        slots = ffi.new("CK_ULONG[]", _MAX_SLOTS)
        self.call("GetSlotList", 1, slots, count)
        found = []
        for slot in slots[0 : min(count[0], _MAX_SLOTS)]:
            info = ffi.new("CK_TOKEN_INFO *")
            if self.functions.GetTokenInfo(slot, info) == 0:
                texts = (info.label, info.serial, info.manufacturer, info.model)
                label, serial, manufacturer, model = (bytes(ffi.buffer(each)).rstrip(b" \0") for each in texts)
                found.append(Pkcs11Token(slot, label, serial, manufacturer, model, info.flags))
        return found

    def open(self, token: Pkcs11Token, *, pin: bytes | None, write: bool = False) -> "Pkcs11Session":
        """Return a session with a token, logged in if there is a PIN. Raises KeyAccessError.

        A wrong PIN is not tried again by this process, and a token's last attempt is never used.
        """
        session = self.ffi.new("CK_ULONG *")
        flags = pkcs11_abi.Flag.SERIAL_SESSION | (pkcs11_abi.Flag.RW_SESSION if write else 0)
        name = token.label.decode("utf-8", "replace")
        self.call("OpenSession", token.slot, flags, self.ffi.NULL, self.ffi.NULL, session, what=f"token {name}")
        opened = Pkcs11Session(self, session[0], f"token {name}")
        try:
            if pin is not None:
                self._login(opened, token, pin)
        except KeyAccessError:
            opened.close()
            raise
        return opened

    def _login(self, session: "Pkcs11Session", token: Pkcs11Token, pin: bytes) -> None:
        if token.serial in self._refused:
            raise KeyAccessError(f"{session.name}: the PIN was wrong before", hint="correct it and start again")
        if token.flags & pkcs11_abi.Flag.USER_PIN_LOCKED:
            raise KeyAccessError(f"{session.name}: the PIN is locked", hint="unlock it with the security officer's PIN")
        if token.flags & pkcs11_abi.Flag.USER_PIN_FINAL_TRY:
            raise KeyAccessError(
                f"{session.name}: the next wrong PIN would lock the token, so none is tried",
                hint="log in once by hand: pkcs11-tool --login --test",
            )
        try:
            self.login(session, pkcs11_abi.Pkcs11User.USER, pin)
        except KeyAccessError as error:
            if isinstance(error.__cause__, Pkcs11Return) and error.__cause__.code == pkcs11_abi.PIN_INCORRECT:
                self._refused.add(token.serial)
                raise KeyAccessError(str(error), hint="correct the PIN in pin-source") from error.__cause__
            raise

    def login(self, session: "Pkcs11Session", user: pkcs11_abi.Pkcs11User, pin: bytes) -> None:
        """Send the PIN to the token, once. Raises KeyAccessError."""
        self.call("Login", session.number, user, pin, len(pin), fine=(pkcs11_abi.ALREADY_LOGGED_IN,), what=session.name)


class Pkcs11Return(Exception):
    """Return value of a PKCS#11 function; the cause of a KeyAccessError."""

    def __init__(self, code: int) -> None:
        super().__init__(f"0x{code:x}")
        self.code: Final = code


class Pkcs11Session:
    """An open session with a token. Objects are numbers, valid within the session."""

    def __init__(self, module: Pkcs11Module, number: int, name: str) -> None:
        self.module = module
        self.number = number
        self.name = name
        self.close = weakref.finalize(self, module.functions.CloseSession, number)
        """`close()` ends the session, even if the token is gone; so does losing the last reference to it."""

    def find(self, template: Template) -> list[int]:
        """Return the objects with these attributes."""
        ffi = self.module.ffi
        wanted, found = _Attributes(ffi, template), list[int]()
        self._call("FindObjectsInit", wanted.array, len(template))
        try:
            objects, count = ffi.new("CK_ULONG[]", _MOST_FOUND), ffi.new("CK_ULONG *", 1)
            while count[0]:
                self._call("FindObjects", objects, _MOST_FOUND, count)
                found.extend(objects[0 : count[0]])
        finally:
            self._call("FindObjectsFinal")
        return found

    def read(self, key: int, attribute: pkcs11_abi.Attribute) -> bytes | None:
        """Return an attribute's bytes; None when the object has none or does not reveal it."""
        ffi = self.module.ffi
        asked = ffi.new("CK_ATTRIBUTE[1]")
        asked[0].type = attribute
        if self.module.functions.GetAttributeValue(self.number, key, asked, 1):
            return None
        size = asked[0].length
        if not 0 < size <= _MAX_VALUE_BYTES:  # a missing attribute has the length -1
            return None
        value = ffi.new("unsigned char[]", size)
        asked[0].value = value
        self._call("GetAttributeValue", key, asked, 1)
        return bytes(ffi.buffer(value, asked[0].length))

    def sign(
        self, key: int, mechanism: pkcs11_abi.Mechanism, data: bytes, *, parameter: object = None, pin: bytes | None
    ) -> bytes:
        """Return a signature; `pin` is for keys that need it for every signature."""
        ffi = self.module.ffi
        how = _mechanism(ffi, mechanism, parameter)
        self._call("SignInit", how, key)
        if pin is not None:
            self.module.login(self, pkcs11_abi.Pkcs11User.CONTEXT_SPECIFIC, pin)
        length = ffi.new("CK_ULONG *", 512)
        signature = ffi.new("unsigned char[]", 512)
        self._call("Sign", data, len(data), signature, length)
        return bytes(ffi.buffer(signature, length[0]))

    def derive(self, key: int, mechanism: pkcs11_abi.Mechanism, parameter: object, template: Template) -> bytes:
        """Return the value of a derived key, which the token then deletes."""
        ffi = self.module.ffi
        made, wanted = ffi.new("CK_ULONG *"), _Attributes(ffi, template)
        self._call("DeriveKey", _mechanism(ffi, mechanism, parameter), key, wanted.array, len(template), made)
        try:
            value = self.read(made[0], pkcs11_abi.Attribute.VALUE)
        finally:
            self._call("DestroyObject", made[0])
        if value is None:
            raise KeyAccessError(f"{self.name} does not return the agreed secret")
        return value

    def destroy(self, key: int) -> None:
        """Delete an object of the token permanently; needs a read-write session. Raises KeyAccessError."""
        self._call("DestroyObject", key)

    def generate(self, mechanism: pkcs11_abi.Mechanism, public: Template, private: Template) -> None:
        """Make a pair of keys in the token."""
        ffi = self.module.ffi
        of_public, of_private = _Attributes(ffi, public), _Attributes(ffi, private)
        made = ffi.new("CK_ULONG[2]")
        self._call(
            "GenerateKeyPair",
            _mechanism(ffi, mechanism, None),
            of_public.array,
            len(public),
            of_private.array,
            len(private),
            made,
            made + 1,
        )

    def _call(self, name: str, *arguments: object) -> None:
        self.module.call(name, self.number, *arguments, what=self.name)


class _Attributes:
    """A CK_ATTRIBUTE array and the data it points to."""

    def __init__(self, ffi: cffi.FFI, template: Template) -> None:
        self.array = ffi.new("CK_ATTRIBUTE[]", len(template))
        self._kept = []
        for entry, (attribute, value) in zip(self.array, template.items(), strict=True):
            if isinstance(value, bool):
                data = ffi.new("unsigned char[1]", bytes([value]))
            elif isinstance(value, int):
                data = ffi.new("CK_ULONG[1]", [value])
            else:
                data = ffi.new("unsigned char[]", value or b"\0")
            self._kept.append(data)
            entry.type, entry.value = attribute, data
            entry.length = len(value) if isinstance(value, bytes) else ffi.sizeof(data)


def _mechanism(ffi: cffi.FFI, mechanism: pkcs11_abi.Mechanism, parameter: Any) -> Any:
    how = ffi.new("CK_MECHANISM *")
    how.mechanism = mechanism
    if parameter is not None:
        how.parameter, how.length = parameter, ffi.sizeof(parameter[0])
    return how


@functools.cache
def load_module(path: str = DEFAULT) -> Pkcs11Module:
    """Return a library, loaded once. Raises ConfigError when that fails."""
    return Pkcs11Module(path)
