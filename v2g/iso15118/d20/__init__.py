"""ISO 15118-20: messages, sequence charts, timing, services, prices, contract certificates."""
