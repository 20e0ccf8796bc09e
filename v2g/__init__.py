"""The library: protocol cores without I/O, and in `v2g.io` what connects them to the machine.

How money is rounded, and with how many decimals: `units.py`. How many requests, passwords, SDP requests and TLS
handshakes a caller gets: `rates.py`. Another event: `events.txt`, and `Observe` where it occurs.
"""
