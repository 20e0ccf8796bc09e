"""Whom stations may charge: tokens, groups, terms, stations' caches (block C) and local lists (block D).

Whether a token may charge: `rules.py`.
"""
