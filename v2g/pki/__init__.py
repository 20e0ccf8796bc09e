"""Trust: certificate profiles, issuing, chain verification, OCSP and signing keys."""
