"""Trust anchors, revocation lists and the status of certificates, for contracts and stations.

Responders and revocation lists are asked, and answers kept: `certificate_status.py`; lists in files:
`csms/revocation_lists.py`; trusted roots from the list of an ecosystem: `work.py`.
"""
