"""Signed meter readings of any make: OCMF, Alfen, EDL40 and ISA-EDL40 (SML), PCDF; keys, verdicts, containers."""
