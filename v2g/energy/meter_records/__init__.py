"""Signed meter readings of any make: OCMF, Alfen, EDL40 and ISA-EDL40 (SML), PCDF; keys, verdicts, containers.

Whether a signed reading is believed: `judge.py`, with `csms/transactions/signed_values.py`.
"""
