"""The charger's session in editions whose messages are a V2G_Message: ISO 15118-2 and DIN 70121."""
