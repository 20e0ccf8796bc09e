"""EEBUS on the network: the folder of a node's key and trusted peers, TLS and WebSocket, mDNS, and the link of the
charger's energy managers."""
