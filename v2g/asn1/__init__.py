"""Signed-discharge messages: the published ASN.1 module `V2GDischarge.asn` and its typed form.

DER is derived from message declarations (`der.py`), like EXI; asn1tools reads the published module for verification
only.
"""
