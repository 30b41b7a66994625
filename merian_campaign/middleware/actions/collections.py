"""Certifying calibrations and defining chains."""

from __future__ import annotations

import sys
from typing import Any

from merian_campaign.domain.safe_text.shell import shown
from merian_campaign.domain.spec.actions.calibrations import CertifyCalibrations, CollectionChain
from merian_campaign.middleware.actions.runner import ActionError, ActionRunner, CommandError, few, reading


class CertifyCalibrationsRunner(ActionRunner[CertifyCalibrations]):
    """``butler certify-calibrations``."""

    def _wanted(self) -> Any:  # noqa: ANN401 - lsst type
        from astropy.time import Time  # noqa: PLC0415 - comes with the butler, costs a second
        from lsst.daf.butler import Timespan  # noqa: PLC0415

        return Timespan(
            Time(self.given.begin, scale="tai", format="isot"),
            Time(self.given.end, scale="tai", format="isot"),
        )

    def _inputs(self, butler: Any) -> set[Any]:  # noqa: ANN401 - lsst type
        from lsst.daf.butler import MissingCollectionError, MissingDatasetTypeError  # noqa: PLC0415

        try:
            return set(
                butler.registry.queryDatasets(
                    self.given.dataset_type, collections=self.given.input, findFirst=True
                )
            )
        except (MissingCollectionError, MissingDatasetTypeError):
            return set()

    def _associations(self, butler: Any) -> list[Any]:  # noqa: ANN401 - lsst type
        from lsst.daf.butler import MissingCollectionError, MissingDatasetTypeError  # noqa: PLC0415

        given = self.given
        try:
            found = list(
                butler.registry.queryDatasetAssociations(given.dataset_type, collections=given.output)
            )
        except (MissingCollectionError, MissingDatasetTypeError):
            return []
        return found

    def _superseded(self, butler: Any, associations: list[Any]) -> list[Any]:  # noqa: ANN401 - lsst type
        """Return what is certified for these dates of RUN collections that the input shows no more.

        A redo of the step that builds them has put others in their place.
        """
        from lsst.daf.butler import CollectionType, MissingCollectionError  # noqa: PLC0415

        try:
            shown = set(
                butler.collections.query(
                    self.given.input, collection_types=CollectionType.RUN, flatten_chains=True
                )
            )
        except MissingCollectionError:
            return []
        wanted = self._wanted()
        below = f"{self.given.input}/"
        return [
            entry
            for entry in associations
            if entry.ref.run.startswith(below)
            and entry.ref.run not in shown
            and wanted.contains(entry.timespan)
        ]

    def check(self) -> None:
        """Refuse ranges that overlap those of other calibrations, but for those that these replace."""
        wanted = self._wanted()
        with reading(self.repository) as butler:
            ours = {ref.dataId: ref for ref in self._inputs(butler)}
            found = self._associations(butler)
            replaced = self._superseded(butler, found)
        others = [
            entry
            for entry in found
            if entry.ref.dataId in ours
            and entry.timespan.overlaps(wanted)
            and not (entry.ref == ours[entry.ref.dataId] and entry.timespan == wanted)
            and entry not in replaced
        ]
        if others:
            names = sorted(f"{entry.ref.dataId.required} of {entry.ref.run}" for entry in others)
            begin, end = others[0].timespan.begin, others[0].timespan.end
            given = self.given
            raise ActionError(
                f"{given.output} already has {len(others)} {given.dataset_type} whose validity overlaps "
                f"{given.begin} to {given.end}: {few(names, at_most=2)}, valid {_iso(begin)} to {_iso(end)}. "
                "Certify other dates, or take those out with Butler.registry.decertify, or use another output"
            )

    def seen(self) -> str | None:
        """Say what is certified already, when it is exactly what would be."""
        wanted = self._wanted()
        with reading(self.repository) as butler:
            refs = self._inputs(butler)
            found = self._associations(butler)
            replaced = self._superseded(butler, found)
        certified = {entry.ref for entry in found if entry.timespan == wanted}
        if replaced or not refs or not refs <= certified:
            return None
        return f"{len(refs)} {self.given.dataset_type} already certified for these dates"

    def run(self) -> None:
        """Certify; what a new generation replaces goes out in the same transaction: no reader sees neither.

        The collection keeps its name, which the inputs of steps and chains are written with.
        """
        from lsst.daf.butler import Butler  # noqa: PLC0415

        with reading(self.repository) as butler:
            replaced = self._superseded(butler, self._associations(butler))
        if not replaced:
            super().run()
            return
        given = self.given
        sys.stderr.write(f"{len(replaced)} {given.dataset_type} in {given.output} are replaced by new ones\n")
        with Butler.from_config(self.repository, writeable=True, without_datastore=True) as butler:
            refs = self._inputs(butler)
            if not refs:
                raise ActionError(f"{given.input} holds no {given.dataset_type}; nothing was decertified")
            with butler.transaction():
                for entry in replaced:
                    butler.registry.decertify(
                        given.output, given.dataset_type, entry.timespan, dataIds=[entry.ref.dataId]
                    )
                there = {entry.ref for entry in self._associations(butler)}
                butler.registry.certify(given.output, refs - there, self._wanted())

    def after(self) -> str:
        """Count what is certified now."""
        return super().after().replace("already certified", "certified")

    def advice(self, error: CommandError) -> str:
        """Point at the step that makes the calibrations."""
        if "No inputs found" in error.output or "MissingDatasetType" in error.output:
            return f"{error.words}; has the step that builds them succeeded?"
        return error.words


def _iso(time: Any) -> str:  # noqa: ANN401 - astropy type
    return "ever" if time is None else str(time.isot).partition(".")[0]


class CollectionChainRunner(ActionRunner[CollectionChain]):
    """``butler collection-chain``."""

    def check(self) -> None:
        """Refuse children that do not exist."""
        with reading(self.repository) as butler:
            known = set(butler.collections.query("*", flatten_chains=False))
        missing = [child for child in self.given.children if child not in known]
        if missing:
            query = shown(("butler", "query-collections", self.repository))
            raise ActionError(
                f"children: the repository has no collection {few(missing)}; `{query}` lists what it has"
            )

    def seen(self) -> str | None:
        """Say that the chain is already as wanted."""
        from lsst.daf.butler import MissingCollectionError  # noqa: PLC0415

        with reading(self.repository) as butler:
            try:
                children = butler.collections.get_info(self.given.parent).children
            except MissingCollectionError:
                return None
        return "the chain is already as wanted" if tuple(children) == self.given.children else None

    def after(self) -> str:
        """Count its children."""
        super().after()
        return f"{len(self.given.children)} children"
