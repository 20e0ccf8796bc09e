"""What several tests of can use."""

LINK = {
    "ifname": "can0", "flags": ["NOARP", "UP", "LOWER_UP", "ECHO"], "link_type": "can", "mtu": 72,
    "linkinfo": {
        "info_kind": "can",
        "info_data": {
            "ctrlmode": ["FD"], "state": "ERROR-PASSIVE", "berr_counter": {"tx": 0, "rx": 135}, "restart_ms": 100,
            "bittiming": {"bitrate": 250000, "sample_point": "0.875", "tq": 250},
            "data_bittiming": {"bitrate": 2000000}, "clock": 24000000,
        },
        "info_xstats": {"restarts": 1, "bus_error": 2, "bus_off": 1},
    },
    "stats64": {"rx": {"packets": 2, "errors": 2, "dropped": 3}, "tx": {}},
}  # fmt: skip
"""What `ip -details -statistics -json link show dev can0` writes."""
