"""The operator's console: pages in the browser over the operations of the API, for people who have logged in."""
