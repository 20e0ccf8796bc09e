"""Whom stations may charge: tokens, groups, terms, stations' caches (block C) and local lists (block D).

Whether a token may charge: `rules.py`. Authorize is answered in `work.py`, which asks partners about unknown tokens by
`csms/roaming/authorization.py`.
"""
