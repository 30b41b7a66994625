"""Asks a butler repository and the pipelines what a preflight wants to know: one query a kind and step.

Nothing is written; every complaint of the butler is an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from merian_campaign.domain.preflight.facts import (
    Certified,
    CollectionFacts,
    Exposure,
    InputNeed,
    PipelineFacts,
    Present,
    RepositoryFacts,
    Selected,
)
from merian_campaign.domain.preflight.queries import (
    Made,
    StepQuery,
    calibration_types,
    made_by,
    on_sky,
    presences,
    searched,
)
from merian_campaign.domain.safe_text.text import error_line, first_line
from merian_campaign.domain.spec import CampaignSpec
from merian_campaign.middleware.actions.runner import ActionError, reading
from merian_campaign.middleware.preflight.pipeline_facts import read_pipeline
from merian_campaign.middleware.programs import in_environment


class ButlerQueries:
    """Questions to one repository, which may not be there.

    Parameters
    ----------
    butler
        The open repository; `None` when there is none.
    there : `bool`
        Whether it exists.
    problem : `str`
        Why it cannot be opened.
    """

    def __init__(self, butler: Any, *, there: bool, problem: str = "") -> None:  # noqa: ANN401 - lsst type
        self._butler = butler
        self._there = there
        self._problem = problem
        self._pipelines: dict[tuple[str, tuple[str, ...], tuple[str, ...]], PipelineFacts] = {}
        self._files: dict[str, Any] = {}

    @classmethod
    @contextmanager
    def of(cls, repository: str, *, environment: Mapping[str, str] | None = None) -> Iterator[Self]:
        """Open a repository for questions, with the variables of a campaign that has tasks of its own."""
        with in_environment(environment or {}), cls._opened(repository) as queries:
            yield queries

    @classmethod
    @contextmanager
    def _opened(cls, repository: str) -> Iterator[Self]:
        if not exists(repository):
            yield cls(None, there=False)
            return
        try:
            opened = reading(repository)
            butler = opened.__enter__()
        except ActionError as error:
            yield cls(None, there=True, problem=first_line(str(error)).partition("; is the create")[0])
            return
        try:
            yield cls(butler, there=True)
        finally:
            opened.__exit__(None, None, None)

    def pipeline(self, look: StepQuery) -> PipelineFacts:
        """Return what a pipeline reads and makes; its tasks are imported, as for a graph.

        Raises
        ------
        OSError
            Raised if a file cannot be read, other than for not being there.
        """
        key = (look.pipeline, look.config, look.config_files)
        if key not in self._pipelines:
            registry = None if self._butler is None else self._butler.registry
            self._pipelines[key] = read_pipeline(look, registry=registry, files=self._files)
        return self._pipelines[key]

    def collections(self, names: Iterable[str] | None = None) -> Mapping[str, CollectionFacts]:
        """Return collections with the dataset types that each has held: all, or these and their children."""
        if names is None:
            wanted, flatten = ["*"], False
        else:
            wanted, flatten = [name for name in dict.fromkeys(names) if self._is_collection(name)], True
        if not wanted:
            return {}
        found = self._butler.collections.query_info(
            wanted, flatten_chains=flatten, include_chains=True, include_summary=True
        )
        return {
            info.name: CollectionFacts(
                kind=info.type.name,
                children=tuple(info.children),
                holds=frozenset(info.dataset_types or ()),
            )
            for info in found
        }

    def collections_if_open(self, names: Iterable[str]) -> Mapping[str, CollectionFacts] | None:
        """Return these and their children; `None` where the repository is there and cannot be opened."""
        if self._butler is None:
            return None if self._there else {}
        return self.collections(names)

    def _is_collection(self, name: str) -> bool:
        from lsst.daf.butler import MissingCollectionError  # noqa: PLC0415

        try:
            self._butler.collections.get_info(name)
        except MissingCollectionError:
            return False
        return True

    def selected(self, look: StepQuery, *, instrument: str) -> Selected:
        """Return the exposures and detectors that a query selects."""
        dimensions = ["exposure", "visit"] if look.by == "visit" else ["exposure"]
        rows: dict[int, Any] = {}
        visits: dict[int, list[int]] = {}
        try:
            with self._butler.query() as query:
                chosen = query.where(look.query)
                for data_id in chosen.data_ids(dimensions).with_dimension_records():
                    rows[int(data_id["exposure"])] = data_id.records["exposure"]
                    if look.by == "visit":
                        visits.setdefault(int(data_id["exposure"]), []).append(int(data_id["visit"]))
                detectors = sorted(int(data_id["detector"]) for data_id in chosen.data_ids(["detector"]))
        except Exception as error:  # noqa: BLE001 - a wrong query is a finding
            return Selected(problem=error_line(error))
        exposures = tuple(
            _exposure(number, record, visits.get(number, ())) for number, record in sorted(rows.items())
        )
        known = "" if exposures else self._known_exposures(instrument)
        return Selected(exposures=exposures, detectors=tuple(detectors), known=known)

    def _known_exposures(self, instrument: str) -> str:
        """Return in words which exposures the registry has."""
        records = self._butler.query_dimension_records(
            "exposure", instrument=instrument, explain=False, limit=None
        )
        nights = sorted({int(record.day_obs) for record in records})
        if not nights:
            return "the registry has no exposures at all"
        types = ", ".join(sorted({str(record.observation_type) for record in records}))
        return f"the registry has {len(records)} exposures ({types}) of {nights[0]} to {nights[-1]}"

    def present(self, look: StepQuery, need: InputNeed, *, collections: Iterable[str]) -> Present:
        """Return for which values of its groups' dimension a step finds datasets."""
        try:
            with self._butler.query() as query:
                joined = query.join_dataset_search(need.name, list(collections)).where(look.query)
                if not look.by:
                    some = joined.data_ids(sorted(need.dimensions)).any(execute=True, exact=False)
                    return Present(values=frozenset({1} if some else ()))
                values = {int(data_id[look.by]) for data_id in joined.data_ids([look.by])}
        except Exception as error:  # noqa: BLE001 - a wrong query is a finding
            return Present(problem=error_line(error))
        return Present(values=frozenset(values))

    def certified(self, dataset_type: str, collections: Iterable[str]) -> tuple[Certified, ...]:
        """Return the validity ranges of a calibration in CALIBRATION collections."""
        from lsst.daf.butler import CollectionType, MissingDatasetTypeError  # noqa: PLC0415

        wanted = list(collections)
        if not wanted:
            return ()
        try:
            found = self._butler.registry.queryDatasetAssociations(
                dataset_type, collections=wanted, collectionTypes={CollectionType.CALIBRATION}
            )
            return tuple(_certified(dataset_type, association) for association in found)
        except MissingDatasetTypeError:
            return ()

    def tracts(self, skymap: str | None) -> frozenset[int] | None:
        """Return the tracts of a sky map; `None` when it is not registered."""
        if skymap is None or not self._known("skymap", skymap):
            return None
        with self._butler.query() as query:
            # Not their records: the regions of a sky map of the whole sky take long to read.
            return frozenset(int(row["tract"]) for row in query.where(skymap=skymap).data_ids(["tract"]))

    def filters(self, instrument: str) -> Mapping[str, str] | None:
        """Return the bands of an instrument's filters; `None` when it is not registered."""
        if not self._known("instrument", instrument):
            return None
        records = self._butler.query_dimension_records(
            "physical_filter", instrument=instrument, explain=False, limit=None
        )
        return {record.name: record.band for record in records}

    def _known(self, element: str, name: str) -> bool:
        return name in {
            record.name for record in self._butler.query_dimension_records(element, explain=False)
        }

    def campaign(
        self, spec: CampaignSpec, looks: tuple[StepQuery, ...], *, pipelines: Mapping[str, PipelineFacts]
    ) -> RepositoryFacts:
        """Return what the repository says about a whole campaign."""
        return self.facts(
            looks,
            pipelines=pipelines,
            instrument=spec.instrument,
            skymap=spec.skymap,
            made=made_by(spec, pipelines),
        )

    def facts(
        self,
        looks: Iterable[StepQuery],
        *,
        pipelines: Mapping[str, PipelineFacts],
        instrument: str,
        skymap: str | None,
        made: Made | None,
        names: Iterable[str] | None = None,
    ) -> RepositoryFacts:
        """Return all that is asked about some steps, or one group.

        Parameters
        ----------
        looks : iterable of `StepQuery`
            The questions.
        pipelines : `~collections.abc.Mapping`
            Pipelines by the place of the questions.
        instrument, skymap
            Names.
        made : `Made` or `None`
            What the campaign's own steps make.
        names : iterable of `str`, optional
            Collections that matter; all by default.
        """
        if self._butler is None:
            return RepositoryFacts(there=self._there, problem=self._problem)
        collections = self.collections(names)
        filters = self.filters(instrument)
        asked = tuple(looks)
        mapped = {
            look.place
            for look in asked
            if skymap is not None and on_sky(look, pipelines.get(look.place, PipelineFacts()))
        }
        tracts = self.tracts(skymap) if mapped else None
        selected: dict[str, Selected] = {}
        present: dict[tuple[str, str], Present] = {}
        ranges: dict[tuple[str, str], None] = {}
        for look in asked if filters is not None else ():
            pipeline = pipelines.get(look.place, PipelineFacts())
            opened = searched(look.inputs, collections=collections, made=made)
            there = {name: collections[name] for name in opened if name in collections}
            if tracts is None and look.place in mapped:
                continue
            if look.exposures:
                selected[look.place] = self.selected(look, instrument=instrument)
                ranges.update(dict.fromkeys(_to_certify(pipeline, there)))
            for presence in presences(look, pipeline, collections=collections, made=made):
                holding = [name for name, facts in there.items() if presence.need.name in facts.holds]
                key = (look.place, presence.need.name)
                present[key] = self.present(look, presence.need, collections=holding)
        return RepositoryFacts(
            collections=collections,
            selected=selected,
            present=present,
            certified=self._all_certified(ranges),
            tracts=tracts,
            filters=filters,
        )

    def _all_certified(self, ranges: Iterable[tuple[str, str]]) -> tuple[Certified, ...]:
        """Return the validity ranges of dataset types in collections, one query a type."""
        wanted: dict[str, list[str]] = {}
        for dataset_type, name in ranges:
            wanted.setdefault(dataset_type, []).append(name)
        return tuple(
            entry for dataset_type, names in wanted.items() for entry in self.certified(dataset_type, names)
        )


def _to_certify(pipeline: PipelineFacts, there: Mapping[str, CollectionFacts]) -> Iterator[tuple[str, str]]:
    """Yield the dataset types whose validity matters, with the collections that give it."""
    for dataset_type in calibration_types(pipeline):
        for name, facts in there.items():
            if facts.kind == "CALIBRATION" and dataset_type in facts.holds:
                yield dataset_type, name


def exists(repository: str) -> bool:
    """Say whether there is a repository; one that is not a path is taken to be there."""
    configuration = Path(repository) if repository.endswith(".yaml") else Path(repository) / "butler.yaml"
    return "://" in repository or configuration.is_file()


def _exposure(number: int, record: Any, visits: Iterable[int]) -> Exposure:  # noqa: ANN401 - lsst type
    begin, end = (0, 0) if record.timespan is None else record.timespan.nsec
    return Exposure(
        exposure=number,
        day_obs=int(record.day_obs),
        physical_filter=record.physical_filter,
        begin=begin,
        end=end,
        visits=tuple(visits),
    )


def _certified(dataset_type: str, association: Any) -> Certified:  # noqa: ANN401 - lsst type
    data_id = association.ref.dataId.required
    begin, end = association.timespan.nsec
    detector = data_id.get("detector")
    return Certified(
        dataset_type=dataset_type,
        collection=association.collection,
        begin=begin,
        end=end,
        detector=None if detector is None else int(detector),
        physical_filter=data_id.get("physical_filter"),
    )
