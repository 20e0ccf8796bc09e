"""Detectors of batteries on Apache Flink, for fleets that outgrow one machine: in an environment of its own."""
