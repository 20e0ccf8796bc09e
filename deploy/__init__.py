"""Packages, releases, locks and audits, for which no program is needed."""
