"""People and programs that may use API and console: permissions, roles, logins, tokens, the audit log.

Every request asks it for its caller (`csms.http.pipeline`); accounts come from the configuration, the console
and an OpenID provider. Roles, permissions, how long a login lasts: `rules.py`; how long the answer to an idempotency
key is kept: `store.py`. How passwords of people are hashed: `work.py`; of stations: `v2g/pki/password_hash.py`.
"""
