"""Simulated powerline, pilot, lines, coils and contacts, by which separate processes meet in a folder of sockets."""
