"""Block N: log files, monitors and their event streams, events of device models, customers' data at stations."""
