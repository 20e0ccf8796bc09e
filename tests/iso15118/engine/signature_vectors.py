"""What several tests of signature vectors use."""

from typing import Final

from v2g.iso15118.d2.messages.common import AuthorizationReq

# ISO 15118-2:2014, Annex J.2: an AuthorizationReq, its SignedInfo, and the key that signed it
J_ELEMENT: Final = AuthorizationReq(gen_challenge=b"Some Random Data", id="ID1")
J_VALUE: Final = (
    "4c8f20c1400ba67606aa4811572a2f1ad3c15089d95420363430bb26b49db104f08dfa8bf8055e63a4b75a8d3169206fa8d54308ba58f056"
    "6b96baf692ce5950"
)
J_PRIVATE: Final = 0xB9134963F51C4414738435057F97BBF1010CABCB8DBDE9C5D4813839 << 32 | 0x6AA94B9D
