"""Recordings of traffic, as pcap and pcapng, and what they hold of TLS and TCP.

Recordings hold TLS as on the wire, in synthetic TCP frames, with secrets before the data that they decrypt.
"""
