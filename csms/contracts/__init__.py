"""Contract certificates: verified for authorization (C07), provisioned to vehicles (M01), kept in a pool.

Called by Authorize. Get15118EVCertificate, GetCertificateStatus and GetCertificateChainStatus are answered in
`station.py`, the last two by `csms/trust`. Certificates come from a folder, the API or a provisioning service. Whether
a contract may charge, and its certificate is trusted: `rules.py`, asking responders: `verifier.py`; which contract a
vehicle may receive: `pool.py`, `provisioning.py`; whose request it is (PCID), and what is verified of it:
`provisioning.py` of each edition in `v2g/iso15118`.
"""
