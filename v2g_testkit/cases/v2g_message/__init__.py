"""Cases for ISO 15118-2 and DIN 70121, whose messages are a V2G_Message."""
