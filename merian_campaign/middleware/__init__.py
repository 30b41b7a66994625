"""What touches the butler and BPS: actions, driver processes, graphs and provenance.

lsst is imported inside functions, so that importing this room stays cheap. It never sees the store.
"""
