"""SQL as functions that take a Connection: operations for `csms.db.store.Store.run`."""
