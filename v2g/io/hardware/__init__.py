"""Drivers of real parts over serial lines, CAN, Modbus, GPIO and MQTT."""
