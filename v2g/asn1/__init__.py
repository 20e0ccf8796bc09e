"""Signed-discharge messages: the published ASN.1 module `V2GDischarge.asn` and its typed form."""
