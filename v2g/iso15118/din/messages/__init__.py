"""Messages of DIN 70121:2012, declared once: `v2g.iso15118.din.messages.message.V2G_Message` is every document."""
