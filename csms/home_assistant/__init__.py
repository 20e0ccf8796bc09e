"""Sites and vehicles that appear in a Home Assistant, by MQTT.

What is published: `publisher.py`; its form: `v2g/home_assistant.py`.
"""
