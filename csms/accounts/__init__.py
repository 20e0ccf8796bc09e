"""People and programs that may use API and console: permissions, roles, logins, tokens, the audit log.

Every request asks it for its caller (`csms.http.pipeline`); accounts come from the configuration, the console
and an OpenID provider. Roles, permissions, how long a login lasts: `rules.py`; how long the answer to an idempotency
key is kept: `store.py`.
"""
