"""Messages of ISO 15118-2:2013, declared once: `v2g.iso15118.d2.messages.message.V2G_Message` is every document."""
