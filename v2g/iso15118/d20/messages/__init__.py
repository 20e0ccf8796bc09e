"""Messages of ISO 15118-20, first edition (2022), declared once: EXI, JSON, XML, validation and documentation follow.

One module per namespace, or a few: `v2g.iso15118.d20.messages.dc.DC_ChargeLoopReq`. Modules are loaded when first
used. AC_DER_IEC and AC_DER_SAE are those of Amendment 1.
"""
