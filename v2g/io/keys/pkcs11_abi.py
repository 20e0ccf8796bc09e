"""The part of PKCS#11's C interface (OASIS PKCS#11 2.40) used here, and its numbers."""

import enum
from typing import Final

_ORDER: Final = """
Initialize Finalize GetInfo GetFunctionList GetSlotList GetSlotInfo GetTokenInfo GetMechanismList GetMechanismInfo
InitToken InitPIN SetPIN OpenSession CloseSession CloseAllSessions GetSessionInfo GetOperationState SetOperationState
Login Logout CreateObject CopyObject DestroyObject GetObjectSize GetAttributeValue SetAttributeValue FindObjectsInit
FindObjects FindObjectsFinal EncryptInit Encrypt EncryptUpdate EncryptFinal DecryptInit Decrypt DecryptUpdate
DecryptFinal DigestInit Digest DigestUpdate DigestKey DigestFinal SignInit Sign SignUpdate SignFinal SignRecoverInit
SignRecover VerifyInit Verify VerifyUpdate VerifyFinal VerifyRecoverInit VerifyRecover DigestEncryptUpdate
DecryptDigestUpdate SignEncryptUpdate DecryptVerifyUpdate GenerateKey GenerateKeyPair WrapKey UnwrapKey DeriveKey
"""
"""The functions in the order of CK_FUNCTION_LIST, up to the last one used."""

_USED: Final = {
    "Initialize": "CK_C_INITIALIZE_ARGS *",
    "Finalize": "void *",
    "GetSlotList": "unsigned char with_token, CK_ULONG *slots, CK_ULONG *count",
    "GetTokenInfo": "CK_ULONG slot, CK_TOKEN_INFO *",
    "OpenSession": "CK_ULONG slot, CK_ULONG flags, void *, void *, CK_ULONG *session",
    "CloseSession": "CK_ULONG session",
    "Login": "CK_ULONG session, CK_ULONG user, const unsigned char *pin, CK_ULONG",
    "DestroyObject": "CK_ULONG session, CK_ULONG object",
    "GetAttributeValue": "CK_ULONG session, CK_ULONG object, CK_ATTRIBUTE *, CK_ULONG count",
    "FindObjectsInit": "CK_ULONG session, CK_ATTRIBUTE *, CK_ULONG count",
    "FindObjects": "CK_ULONG session, CK_ULONG *objects, CK_ULONG most, CK_ULONG *found",
    "FindObjectsFinal": "CK_ULONG session",
    "SignInit": "CK_ULONG session, CK_MECHANISM *, CK_ULONG key",
    "Sign": "CK_ULONG session, const unsigned char *data, CK_ULONG, unsigned char *signature, CK_ULONG *length",
    "GenerateKeyPair": "CK_ULONG session, CK_MECHANISM *, CK_ATTRIBUTE *of_public, CK_ULONG count,"
    " CK_ATTRIBUTE *of_private, CK_ULONG count2, CK_ULONG *public_key, CK_ULONG *private_key",
    "DeriveKey": "CK_ULONG session, CK_MECHANISM *, CK_ULONG key, CK_ATTRIBUTE *, CK_ULONG count, CK_ULONG *derived",
}

CDEF: Final = f"""
typedef unsigned long CK_ULONG;
typedef struct {{ unsigned char major, minor; }} CK_VERSION;
typedef struct {{ CK_ULONG type; void *value; CK_ULONG length; }} CK_ATTRIBUTE;
typedef struct {{ CK_ULONG mechanism; const void *parameter; CK_ULONG length; }} CK_MECHANISM;
typedef struct {{ void *create, *destroy, *lock, *unlock; CK_ULONG flags; void *reserved; }} CK_C_INITIALIZE_ARGS;
typedef struct {{
    unsigned char label[32], manufacturer[32], model[16], serial[16];
    CK_ULONG flags, max_sessions, sessions, max_rw_sessions, rw_sessions, max_pin, min_pin;
    CK_ULONG public_total, public_free, private_total, private_free;
    CK_VERSION hardware, firmware; unsigned char utc[16];
}} CK_TOKEN_INFO;
typedef struct {{
    CK_ULONG kdf, shared_length; void *shared; CK_ULONG public_length; const void *public_data;
}} CK_ECDH1_DERIVE_PARAMS;
typedef struct {{ unsigned char prehash; CK_ULONG context_length; void *context; }} CK_EDDSA_PARAMS;
typedef struct {{
    CK_VERSION version;
    {" ".join(f"CK_ULONG (*{name})({_USED[name]});" if name in _USED else f"void *{name};" for name in _ORDER.split())}
}} CK_FUNCTION_LIST;
CK_ULONG C_GetFunctionList(CK_FUNCTION_LIST **);
"""


class Attribute(enum.IntEnum):
    """Attributes of objects (CKA_)."""

    CLASS = 0x000
    TOKEN = 0x001
    PRIVATE = 0x002
    LABEL = 0x003
    VALUE = 0x011
    KEY_TYPE = 0x100
    ID = 0x102
    SENSITIVE = 0x103
    SIGN = 0x108
    VERIFY = 0x10A
    DERIVE = 0x10C
    PUBLIC_KEY_INFO = 0x129
    VALUE_LEN = 0x161
    EXTRACTABLE = 0x162
    EC_PARAMS = 0x180
    EC_POINT = 0x181
    ALWAYS_AUTHENTICATE = 0x202


class ObjectClass(enum.IntEnum):
    """Kinds of objects (CKO_)."""

    PUBLIC_KEY = 2
    PRIVATE_KEY = 3
    SECRET_KEY = 4


class KeyType(enum.IntEnum):
    """Kinds of keys (CKK_)."""

    EC = 0x03
    GENERIC_SECRET = 0x10
    EC_EDWARDS = 0x40


class Mechanism(enum.IntEnum):
    """Mechanisms (CKM_)."""

    EC_KEY_PAIR_GEN = 0x1040
    ECDSA = 0x1041
    ECDH1_DERIVE = 0x1050
    EC_EDWARDS_KEY_PAIR_GEN = 0x1055
    EDDSA = 0x1057


class Flag(enum.IntFlag):
    """Flags of tokens and sessions (CKF_)."""

    RW_SESSION = 0x02
    OS_LOCKING_OK = 0x02
    LOGIN_REQUIRED = 0x04
    SERIAL_SESSION = 0x04
    USER_PIN_FINAL_TRY = 0x20000
    USER_PIN_LOCKED = 0x40000


class Pkcs11User(enum.IntEnum):
    """User types (CKU_)."""

    USER = 1
    CONTEXT_SPECIFIC = 2


KDF_NULL: Final = 1

ALREADY_LOGGED_IN: Final = 0x100
ALREADY_INITIALIZED: Final = 0x191
PIN_INCORRECT: Final = 0xA0

ERRORS: Final = {
    0x05: "the module failed",
    0x06: "the function failed",
    0x30: "the token failed",
    0x32: "the token was removed",
    0x54: "the token does not support this function",
    0x60: "the key is gone",
    0x63: "the key is of another type",
    0x68: "the key does not allow this use",
    0x70: "the token does not support this mechanism",
    0x82: "the object is gone",
    0xA0: "the PIN is wrong",
    0xA3: "the PIN has expired",
    0xA4: "the PIN is locked",
    0xB3: "the session is gone",
    0xB5: "the session may only read",
    0xD0: "the template lacks something",
    0xD1: "the template is inconsistent",
    0xE0: "the token is not present",
    0xE1: "the token is not recognized",
    0xE2: "the token is write-protected",
    0x101: "not logged in: set pin-source to the PIN",
    0x102: "the PIN is not initialized",
    0x190: "the module is not initialized",
}
"""Text for a return value (CKR_)."""
