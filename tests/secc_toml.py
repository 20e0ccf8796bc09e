"""The least that a charger's configuration needs."""

from typing import Final

SECC: Final = """data_dir = "secc"
[tls]
chain = "chain.pem"
key = "leaf.key"
v2g_roots = ["root.pem"]
[meter]
chain = "meter.pem"
key = "meter.key"
"""
