"""ISO 15118-2:2013: sessions before -20. Every message is a `V2G_Message` of `v2g.iso15118.messages.iso2.message`."""
