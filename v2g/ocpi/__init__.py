"""OCPI 2.2.1 and 2.3.0: roaming between charge point operators (CPO) and mobility providers (eMSP). Pure.

`wire` reads and writes both versions from one inner form, which is that of 2.3.0, and has the envelope, tokens and
lists of the transport; `objects` are the objects; `tariffs` translates price plans and prices charging periods;
`records` judges charge detail records of others, and `settled` makes them of settled sessions.
"""
