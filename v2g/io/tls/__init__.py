"""TLS 1.2 and 1.3 of both sides, by the machine's OpenSSL or by the bundled one.

Which version a vehicle gets, and why none: `hello.py`; ciphers, groups and signatures of each: profiles in
`endpoint.py`; whether a peer is trusted, and the names of failures: `peer_verifier.py`; how many handshakes a caller
gets: `server.py`. TLS of all other connections, such as of stations: `files.py`. One listener serves all editions: the
bytes of the ClientHello select a profile before the TLS library sees them, so that each version has its own algorithms,
chains and failures.
"""
