"""Arguments of butler actions, one model an action, and the command lines they stand for.

A new action is a new model in one of these modules and its entry in `ACTIONS`, and what does it in
`merian_campaign.middleware`; the campaign model does not change.
"""

from __future__ import annotations

from merian_campaign.domain.spec.actions.base import Action
from merian_campaign.domain.spec.actions.calibrations import CertifyCalibrations, CollectionChain
from merian_campaign.domain.spec.actions.data import (
    DefineVisits,
    IngestRaws,
    ReferenceCatalogue,
    RunCommand,
    TransferDatasets,
)
from merian_campaign.domain.spec.actions.repository import (
    CheckFilters,
    Create,
    RegisterInstrument,
    RegisterSkymap,
    WriteCuratedCalibrations,
)

__all__ = [
    "ACTIONS",
    "Action",
    "CertifyCalibrations",
    "CheckFilters",
    "CollectionChain",
    "Create",
    "DefineVisits",
    "IngestRaws",
    "ReferenceCatalogue",
    "RegisterInstrument",
    "RegisterSkymap",
    "RunCommand",
    "TransferDatasets",
    "WriteCuratedCalibrations",
]

ACTIONS: dict[str, type[Action]] = {
    "certify-calibrations": CertifyCalibrations,
    "check-filters": CheckFilters,
    "collection-chain": CollectionChain,
    "command": RunCommand,
    "create": Create,
    "define-visits": DefineVisits,
    "ingest-raws": IngestRaws,
    "reference-catalogue": ReferenceCatalogue,
    "register-instrument": RegisterInstrument,
    "register-skymap": RegisterSkymap,
    "transfer-datasets": TransferDatasets,
    "write-curated-calibrations": WriteCuratedCalibrations,
}
"""Named after the ``butler`` subcommands, where there is one."""
