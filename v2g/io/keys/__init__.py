"""Private keys in files, tokens and TPMs: one interface for all stores.

A key in a token or TPM that seals files: `wrapped.py`.
Keys stay in their store: code that signs or agrees on keys gets a `SigningKey` or `AgreementKey` (`v2g/pki/keys.py`).
The native TLS backend reaches keys in tokens through a provider that calls `SigningKey.sign`
(`v2g/io/tls/openssl_provider.py`).
"""
