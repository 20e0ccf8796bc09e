"""The HTTPS API: TLS 1.3, bearer tokens or client certificates, denied unless `csms.domain.security.access` allows it.

`operations` declares routes, `pipeline` handles every request, `server` listens; each resource has its own module.
Only `server` is imported when a back end starts: Litestar and the resources come after it listens.
"""

from csms.api.server import Api

__all__ = ["Api"]
