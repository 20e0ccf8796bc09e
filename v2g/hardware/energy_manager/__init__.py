"""What an energy manager may command and read over Modbus."""
