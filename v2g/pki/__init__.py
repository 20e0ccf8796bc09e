"""Trust: certificate profiles, issuing, chain verification, OCSP and signing keys.

Whether a chain is valid: `verify.py`, by the profiles of each role (key usages, keys, days) in `profiles_iso15118.py`,
the operator's own in `profiles.py`; whether a certificate is revoked: `revocation.py`, from OCSP answers, CRLs and
policy. How long an answer is trusted: `profile.py`, while it is kept: `csms/trust`,
`v2g_station/blocks/security/certificates.py`, `v2g/io/tls/stapler.py`.
"""
