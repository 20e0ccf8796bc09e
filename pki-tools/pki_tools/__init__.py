"""Creates, renews, revokes and serves certificates: `v2g pki`.

For how long lists of revoked certificates and OCSP answers are valid: `authority.py`, certificates: the profiles of
`v2g/pki`; what a renewal leaves valid: `renewal.py`.
"""
