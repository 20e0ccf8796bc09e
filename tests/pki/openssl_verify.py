"""What several tests of openssl verify use."""

KNOWN = {
    "expired", "not_yet_valid", "unknown_root", "bad_signature", "not_a_ca", "path_length", "name_constraints",
    "unknown_critical_extension",
}  # fmt: skip
OURS_ONLY = {
    "path length 1 next to the leaf", "no path length next to the leaf", "no path length below the root",  # Annex B
    # what OpenSSL judges and we do not, and so refuse
    "mail address under a constraint", "policy constraints in a sub-CA", "inhibitAnyPolicy in a sub-CA",
    "root that is none",  # OpenSSL minds that with -x509_strict only
}  # fmt: skip
ALSO = {"sub-CA without keyCertSign", "root without keyCertSign", "truncated leaf", "no certificate at all"}
"""Refused by both, though our word says more."""
