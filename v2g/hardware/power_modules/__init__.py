"""DC power modules on CAN: their protocols, a bank of several.

Another maker: `[hardware.can]` (DBC file, signal names) where its modules take enable, voltage and current; else a
driver in a package of your own (`docs/tutorials/drive-your-own-power-stage.md`), or a `ModuleProtocol` beside
`infypower.py`, its `Driver` in `v2g/io/hardware/modules.py` and a line in `BUILT_IN` of `secc/hardware/drivers.py`.
"""
