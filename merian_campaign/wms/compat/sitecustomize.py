"""Put on PYTHONPATH where Python's zipfile is broken, so that upstream's programs read large graphs too."""

from merian_campaign.wms.zipfix import mend

mend()
