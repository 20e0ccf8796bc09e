"""The HTTPS API: TLS 1.3, bearer tokens or client certificates, denied unless `csms.accounts.rules` allows it.

`operations` declares routes, `pipeline` handles every request, `server` listens; operations are in the `api` of each
feature. Only `server` is imported when a back end starts: Litestar and the features' APIs come after it listens.
How long a body may be: `application.py`; how long a request may take, and an idle connection stays: `connection.py`.
How many items a page of a list has, and its cursor: `parameters.py`. What a role that is limited to sites sees:
`site_access.py`; who sees numbers of tokens: `may_see_tokens` in `pipeline.py`, in events `csms/events/api.py`.
"""
