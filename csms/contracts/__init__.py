"""Contract certificates: verified for authorization (C07), provisioned to vehicles (M01), kept in a pool.

Called by Authorize and Get15118EVCertificate; certificates come from a folder, the API or a provisioning service.
Whether a contract may charge, and its certificate is trusted: `rules.py`, asking responders: `verifier.py`; which
contract a vehicle may receive: `pool.py`, `provisioning.py`.
"""
