"""EEBUS: a charger that a grid operator's control box limits (LPC, LPP). Pure.

`json_form`: the JSON of SHIP and SPINE; `ship`: the handshake of a connection, by frames and time; `identity`: SKI, TXT
record, QR text; `messages`: SPINE's datagrams; `spine`: a device with features, discovery, subscriptions, bindings;
`limitation`: the state chart of LPC and LPP; `charger`: the charger as controllable system. Connections, certificates
and mDNS are in `v2g.io.eebus`.

Facts of protocols that only one source states are marked (K) where they are used.
"""
