"""Packages, releases, locks and audits, for which no program is needed.

What an installation has: `pyproject.toml`, its extras in Debian's packages `PACKAGES` of `v2g/extras.py` (`debian.py`,
`lock.py`), in images of Yocto and Buildroot `GROUPS` of `embedded.py`. Services: `systemd`, what all of them share,
such as restarts and the sandbox: `systemd/v2g-.service.d`; boards and alerts of a monitoring system: `monitoring`.
"""
