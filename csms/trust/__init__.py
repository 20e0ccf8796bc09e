"""Trust anchors, revocation lists and the status of certificates, for contracts and stations."""
