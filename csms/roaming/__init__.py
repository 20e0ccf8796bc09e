"""Roaming by OCPI with partners, as operator of stations (CPO) and as mobility provider (eMSP).

`partners`: handshake, tokens, requests to partners; `endpoint`: requests of partners, which `cpo` and `emsp` answer by
module; `work`: what is published; `store`: the outbox, and when a push is tried again; `sessions`: sessions and their
CDRs, of settled ones from `v2g/ocpi/settled.py`, rounded by `payable` of `v2g/units.py`. Objects of both sides are in
one table, in the inner form of `v2g.ocpi`.
"""
