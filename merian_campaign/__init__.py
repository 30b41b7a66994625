"""Campaign manager for survey reductions with the LSST Science Pipelines."""
