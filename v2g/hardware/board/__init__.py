"""The protocol of a control board, its firmware and the inputs (`inputs.py`) of its own monitor (`board/monitor.c`).

The monitor is the rule of `v2g/safety/charger.py` in C; the simulated board: `v2g/io/simulation/board.py`.
"""
