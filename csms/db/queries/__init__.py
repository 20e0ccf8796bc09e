"""The SQL, as functions that take a Connection: pieces of work for `csms.db.store.Store.run`."""
