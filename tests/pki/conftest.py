from pki_tools.pytest_plugin import pki

__all__ = ["pki"]
