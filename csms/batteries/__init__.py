"""States and ageing of batteries, from telemetry: references of capacities (R124), calibration of twins (R169).

Fed by the sink `csms.batteries.work`; read by API, console and monthly reports.
"""
