"""The LSST stack: how it is set up, its versions, what of Python is needed."""
