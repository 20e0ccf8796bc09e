"""OCPP 2.0.1 and 2.1: messages, remote procedure calls and the charging station's core, all without I/O."""
