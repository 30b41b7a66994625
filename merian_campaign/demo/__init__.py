"""A miniature Merian survey in a real butler repository, reduced by tiny real PipelineTasks.

The demo shows and tests the campaign manager without the Science Pipelines stack: instrument, sky map,
exposures and calibration frames are small but genuine, and so are the tasks.  This package may import
``lsst`` and refuses to import the rest of ``merian_campaign``: the manager must see the demo only through
the butler, the pipelines and BPS, as it sees any survey.
"""
