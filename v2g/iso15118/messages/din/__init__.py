"""DIN 70121:2012: DC charging before ISO 15118-2. Every message is a `V2G_Message` of `v2g.iso15118.messages.din.message`."""
