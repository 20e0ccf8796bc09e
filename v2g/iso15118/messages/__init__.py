"""Messages of ISO 15118, declared once: the EXI codec, JSON, validation and documentation derive from them."""

from v2g.iso15118.messages.schemas import APP_PROTOCOL, COMMON_MESSAGES, DC, NAMESPACES, XMLDSIG

__all__ = ["APP_PROTOCOL", "COMMON_MESSAGES", "DC", "NAMESPACES", "XMLDSIG"]
