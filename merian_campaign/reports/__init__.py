"""Tables and text from report data. Knows nothing of the store's internals."""
