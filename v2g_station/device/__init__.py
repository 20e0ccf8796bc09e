"""The station's device: logs, firmware, certificates, display, payment terminal, card readers."""
