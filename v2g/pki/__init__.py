"""Trust: certificate profiles, issuing, chain verification, OCSP and signing keys.

Whether a chain is valid: `verify.py`, by the profiles in `profiles.py`; whether a certificate is revoked:
`revocation.py`, from OCSP answers, CRLs and policy.
"""
