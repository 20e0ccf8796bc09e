"""Efficient XML Interchange (W3C, 2014) as V2G uses it, derived from the declarations of messages.

Schema-informed, bit-packed, not strict, all options at their defaults but the value tables, which stay empty.
"""

from v2g.exi.codec import decode, decode_fragment, encode, encode_fragment

__all__ = ["decode", "decode_fragment", "encode", "encode_fragment"]
