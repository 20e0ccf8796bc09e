"""What several tests of commands use."""

STATION = """[station]
url = "ws://127.0.0.1:{port}/ocpp"
identity = "CS-V2G-0001"
store = "station.db"
retry_minimum = 0.02
retry_random_range = 0.0
"""
