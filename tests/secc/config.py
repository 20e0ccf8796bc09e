"""What several tests of config use."""

LEAST = """data_dir = "data"
[tls]
chain = "c.pem"
key = "c.key"
v2g_roots = ["v2g.pem"]
oem_roots = ["oem.pem"]
mo_roots = ["mo.pem"]
[meter]
chain = "m.pem"
key = "m.key"
"""
