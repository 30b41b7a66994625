"""Tables of the tracking database, as SQLAlchemy Core metadata.

What the migrations build; a test holds the two together. Columns for what is queried, JSONB only for
what is merely shown, text with CHECK for states. The views and the trigger that keeps
``event`` append-only live in the migrations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from merian_campaign.domain.execution.quanta import ATTEMPT_FACTS
from merian_campaign.domain.record.records import JobRole
from merian_campaign.domain.sky_regions import RegionKind
from merian_campaign.domain.slurm.slurm_states import JobEnd
from merian_campaign.domain.states import (
    CampaignState,
    GroupState,
    QuantumState,
    SubmissionOutcome,
    SubmissionState,
    Verdict,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_TIME = DateTime(timezone=True)


def _one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _key() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _text(name: str) -> Column[str]:
    """Text that is never NULL: empty means none."""
    return Column(name, Text, nullable=False, server_default=text("''"))


def _count(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False, server_default=text("0"))


def _first(name: str) -> Column[int]:
    """Count from 1."""
    return Column(name, Integer, nullable=False, server_default=text("1"))


_KINDS: Mapping[Any, Callable[[str], Column[Any]]] = {
    str: _text,
    str | None: lambda name: Column(name, Text),
    int | None: lambda name: Column(name, Integer),
    datetime | None: lambda name: Column(name, _TIME),
}


_LATER = ("rule", "remedy")
"""Facts of attempts that came with a later schema: their columns are the last ones."""


def _how_it_ran() -> list[Column[Any]]:
    """Columns that the current state of a quantum and each of its attempts share."""
    return [_KINDS[kind](name) for name, kind in ATTEMPT_FACTS.items() if name not in _LATER]


def _and_later() -> list[Column[Any]]:
    """Columns that both share since a later schema."""
    return [_KINDS[ATTEMPT_FACTS[name]](name) for name in _LATER]


def _what_it_took() -> list[Column[Any]]:
    """Return columns of what an attempt read and used: at most 32767 inputs, cores where more than one."""
    return [Column("inputs", SmallInteger), Column("cpu_seconds", REAL), Column("cores", SmallInteger)]


campaign = Table(
    "campaign",
    metadata,
    _key(),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("created_at", _TIME, nullable=False),
    Column("updated_at", _TIME, nullable=False),
    # NULL: nobody has looked. The basis says what the look rested on.
    Column("overlaps_seen_at", _TIME),
    _text("overlaps_basis"),
    # Why it is paused or cancelled.
    _text("reason"),
    # Of this campaign in this database: what lies in its submissions' directories bears it.
    Column("uuid", Text, nullable=False, server_default=text("(gen_random_uuid())::text")),
    _one_of("state", CampaignState),
    UniqueConstraint("name"),
    comment="What a survey lead launched: one campaign file",
)

revision = Table(
    "revision",
    metadata,
    _key(),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("spec", JSONB, nullable=False),
    Column("actor", Text, nullable=False),
    Column("applied_at", _TIME, nullable=False),
    UniqueConstraint("campaign_id", "number"),
    comment="A campaign file as applied, and what it resolved to; the highest number is in force",
)

group = Table(
    "group",
    metadata,
    _key(),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False),
    Column("step", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    _text("selection_dimension"),
    Column("selection_values", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("state", Text, nullable=False),
    _text("reason"),
    Column("accepted", Boolean, nullable=False, server_default=text("false")),
    _count("attempts_from"),
    Column("created_at", _TIME, nullable=False),
    Column("updated_at", _TIME, nullable=False),
    _count("stack_from"),
    _first("generation"),
    _first("published"),
    # Why a person holds it; empty when nobody does.
    _text("hold"),
    Column("accepted_until", _TIME),
    # What a person asked its next submissions to do differently.
    Column("asked", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _one_of("state", GroupState),
    UniqueConstraint("campaign_id", "step", "key"),
    comment="One step on one data-ID selection: the unit of work",
)

submission = Table(
    "submission",
    metadata,
    _key(),
    Column("group_id", BigInteger, ForeignKey(group.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    _text("repository"),
    _text("run_collection"),
    Column("directory", Text, nullable=False),
    Column("remedy", JSONB, nullable=False),
    _text("reason"),
    Column("driver_host", Text),
    Column("driver_pid", Integer),
    Column("driver_started", BigInteger),
    _count("epoch"),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", _TIME, nullable=False),
    Column("launched_at", _TIME),
    Column("claimed_at", _TIME),
    Column("lease_expires_at", _TIME),
    Column("finished_at", _TIME),
    _text("driver_job"),
    Column("needs_person", Boolean, nullable=False, server_default=text("false")),
    # Of what it ran under, empty when it ran nothing; and all that its driver found, merely to be shown.
    _text("versions_sha"),
    Column("versions", JSONB),
    _count("launches"),
    _first("generation"),
    # What it selected and read, see `Basis`. NULL: nobody wrote it down.
    Column("basis", JSONB),
    # Whether any quantum of its graph has neither visit nor exposure. NULL: it had no graph.
    Column("combines", Boolean),
    # Whether any has no detector. NULL: it had no graph.
    Column("gathers", Boolean),
    # Bytes of its journal that live progress has put on record. NULL: none, nor its graph.
    Column("followed", BigInteger),
    # Where its time went, see `WallTime`, seconds. NULL: its driver left no trace of it.
    Column("wall", JSONB),
    _one_of("state", SubmissionState),
    _one_of("outcome", SubmissionOutcome),
    CheckConstraint("number >= 1", name="number"),
    CheckConstraint(
        "(state = 'finished') = (outcome IS NOT NULL) AND (state = 'finished') = (finished_at IS NOT NULL)",
        name="finished",
    ),
    UniqueConstraint("group_id", "number"),
    # With the next index, what makes a double submission impossible.
    Index("uq_submission_unfinished", "group_id", unique=True, postgresql_where=text("state <> 'finished'")),
    Index(
        "uq_submission_run_collection",
        "repository",
        "run_collection",
        unique=True,
        postgresql_where=text("run_collection <> ''"),
    ),
    comment="One BPS run (or action) of one group; number 1 is the first, later ones are afterburners",
)

slurm_job = Table(
    "slurm_job",
    metadata,
    _key(),
    Column("submission_id", BigInteger, ForeignKey(submission.c.id), nullable=False),
    Column("role", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    # Slurm's own word, of which there may be new ones; what it means to us is the fate.
    Column("slurm_state", Text, nullable=False),
    Column("fate", Text, nullable=False),
    _text("reason"),
    _text("cancelled_by"),
    Column("exit_code", Integer),
    Column("signal", Integer),
    _text("nodes"),
    Column("submitted", _TIME),
    Column("started", _TIME),
    Column("ended", _TIME),
    _count("restarts"),
    Column("busy_seconds", Double),
    Column("updated_at", _TIME, nullable=False),
    _one_of("role", JobRole),
    _one_of("fate", JobEnd),
    UniqueConstraint("submission_id", "job_id"),
    Index("ix_slurm_job_alive", "submission_id", postgresql_where=text("fate IN ('alive', 'unsure')")),
    comment="A Slurm job of a submission, driver or block, as last seen; times are UTC",
)


def _entry(name: str, *columns: Column[Any], comment: str) -> Table:
    """Return a dictionary of a campaign: entries that many quanta have in common, found by a digest."""
    return Table(
        name,
        metadata,
        Column("id", Integer, Identity(always=True), primary_key=True),
        Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False),
        Column("digest", Uuid, nullable=False),
        *columns,
        UniqueConstraint("campaign_id", "digest"),
        comment=comment,
    )


quantum_kind = _entry(
    "quantum_kind",
    Column("task", Text, nullable=False),
    # With places for the numbers of NUMBERED.
    Column("data_id", Text, nullable=False),
    comment="Task and data ID of quanta that differ in numbers alone; the numbers are columns of quantum_row",
)

quantum_common = _entry(
    "quantum_common",
    Column("instrument", Text),
    Column("band", Text),
    Column("physical_filter", Text),
    # From here on of the last attempt, if there is one.
    Column("requested_mb", Integer),
    Column("cores", SmallInteger),
    Column("exit_code", Integer),
    Column("log_path", Text),
    comment="What many quanta have in common beside task and data ID; the path of a log with places for "
    "numbers and UUID",
)

quantum_host = _entry("quantum_host", Column("name", Text, nullable=False), comment="Where quanta ran")

_STATE = "COALESCE(state, 'succeeded'::text)"

# The view `quantum` has it as people need it. In this order nothing is lost to alignment; NULL is what most
# have.
quantum_row = Table(
    "quantum_row",
    metadata,
    _key(),
    Column("updated_at", _TIME, nullable=False),
    Column("started", _TIME),
    Column("ended", _TIME),
    Column("visit", BigInteger),
    Column("exposure", BigInteger),
    # The quantum that it stands behind, while it is blocked.
    Column("blocked_by", BigInteger, info={"refers": "quantum_row"}),
    Column("group_id", Integer, ForeignKey(group.c.id), nullable=False),
    # A foreign key would be looked up for every row; entries go with their campaign alone.
    Column("kind_id", Integer, nullable=False, info={"refers": "quantum_kind"}),
    Column("common_id", Integer, nullable=False, info={"refers": "quantum_common"}),
    Column("host_id", Integer, info={"refers": "quantum_host"}),
    # Of the last attempt; whose facts the state is, and the one in which it succeeded at its first try,
    # unless they are the same.
    Column("submission_id", Integer),
    Column("state_submission_id", Integer),
    Column("first_try_submission_id", Integer),
    # NULL: 1, 1 and 0.
    Column("attempts", Integer),
    Column("charged_attempts", Integer),
    Column("memory_attempts", Integer),
    Column("tract", Integer),
    Column("patch", Integer),
    Column("peak_mb", Integer),
    Column("cpu_seconds", REAL),
    Column("signal", Integer),
    Column("detector", SmallInteger),
    # At most 32767.
    Column("inputs", SmallInteger),
    # Whether there is none.
    Column("no_first_try", Boolean),
    # Whether its step named it, or what it stands behind, as one that may be lost.
    Column("tolerated", Boolean),
    # In the path of its log, if that has a form.
    Column("log_uuid", Uuid),
    # NULL: succeeded.
    Column("state", Text),
    Column("caveats", Text),
    Column("verdict", Text),
    Column("evidence", Text),
    Column("exception_type", Text),
    Column("exception_message", Text),
    Column("exception_bases", Text),
    Column("rule", Text),
    Column("remedy", Text),
    Column("log_path", Text),
    _one_of("state", QuantumState),
    _one_of("verdict", Verdict),
    # A digest that two quanta of a group share is refused.
    Index(
        "uq_quantum_row_key",
        "group_id",
        text("hash_record_extended(ROW(kind_id, visit, exposure, detector, tract, patch), '0')"),
        unique=True,
    ),
    # Equal values share an entry of these, and the last two are of ranges of pages.
    Index("ix_quantum_row_visit", "visit", postgresql_where=text("visit IS NOT NULL")),
    Index("ix_quantum_row_exposure", "exposure", postgresql_where=text("exposure IS NOT NULL")),
    Index("ix_quantum_row_tract_patch", "tract", "patch", postgresql_where=text("tract IS NOT NULL")),
    *(
        Index(
            f"ix_quantum_row_{time}", time, postgresql_using="brin", postgresql_with={"pages_per_range": 32}
        )
        for time in ("ended", "updated_at")
    ),
    Index(
        "ix_quantum_row_open",
        "group_id",
        "kind_id",
        text(_STATE),
        postgresql_where=text(f"{_STATE} NOT IN ('succeeded', 'superseded')"),
    ),
    comment="Current state of each predicted quantum, as short as it can be stored; read the view quantum "
    "instead",
)

quantum_attempt = Table(
    "quantum_attempt",
    metadata,
    Column("quantum_id", BigInteger, ForeignKey(quantum_row.c.id), primary_key=True),
    Column("submission_id", BigInteger, ForeignKey(submission.c.id), primary_key=True, index=True),
    Column("try", Integer, primary_key=True),
    Column("state", Text, nullable=False),
    *_how_it_ran(),
    Column("uuid", Text),
    Column("charged", Boolean, nullable=False),
    Column("recorded_at", _TIME, nullable=False),
    # Full names, nearest first, a blank between them.
    _text("exception_bases"),
    *_what_it_took(),
    Column("certainty", Text),
    Column("slurm_job", Text),
    Column("log_tail", Text),
    *_and_later(),
    _one_of("state", QuantumState),
    _one_of("verdict", Verdict),
    comment="Every attempt that was not a success at first try, and every one of older generations; "
    "never overwritten by a later one",
)

quantum_count = Table(
    "quantum_count",
    metadata,
    Column("group_id", BigInteger, ForeignKey(group.c.id), primary_key=True),
    Column("task", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    _one_of("state", QuantumState),
    comment="Cache: quanta by state, recounted in the transaction that changes them; never the truth",
)

group_usage = Table(
    "group_usage",
    metadata,
    Column("group_id", BigInteger, ForeignKey(group.c.id), primary_key=True),
    Column("task", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("requested_mb", Integer),
    Column("peak_mb", Integer),
    Column("seconds", Double),
    Column("seconds_longest", Double),
    Column("peaks", ARRAY(SmallInteger), nullable=False),
    Column("peaks_n", ARRAY(Integer), nullable=False),
    Column("times", ARRAY(SmallInteger), nullable=False),
    Column("times_n", ARRAY(Integer), nullable=False),
    comment="Cache: last attempts of a group that is over, by task, with bins of peaks (MiB) and run times "
    "(s): fifty times the logarithm, and how many; never the truth",
)

group_hours = Table(
    "group_hours",
    metadata,
    Column("group_id", BigInteger, ForeignKey(group.c.id), primary_key=True),
    Column("hour", _TIME, primary_key=True),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    comment="Cache: last attempts of a group that is over, by the hour (UTC) in which they ended; "
    "never the truth",
)

memory_use = Table(
    "memory_use",
    metadata,
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), primary_key=True),
    Column("step", Text, primary_key=True),
    Column("task", Text, primary_key=True),
    # Exposures of the group: at least so many, less than twice as many; 0: nobody knows.
    Column("inputs", Integer, primary_key=True, autoincrement=False),
    Column("needed_more", Boolean, primary_key=True),
    Column("peak_mb", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    # Input datasets of the quantum, likewise.
    Column("datasets", Integer, primary_key=True, autoincrement=False, server_default=text("0")),
    comment="Measured memory by task: quanta and their run time by peak, in bins of a twentieth (MiB)",
)

visit_overlap = Table(
    "visit_overlap",
    metadata,
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), primary_key=True),
    Column("exposure", BigInteger, primary_key=True, autoincrement=False),
    Column("day_obs", Integer, nullable=False),
    Column("visits", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("tracts", ARRAY(Integer)),
    Column("taken", Boolean, nullable=False),
    # Of the campaign, those that take it.
    Column("steps", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    _count("raws"),
    # First; NULL where that was before anybody wrote it down.
    Column("seen_at", _TIME),
    # When there were last more of them; NULL while all were there at first.
    Column("raws_at", _TIME),
    comment="An exposure and the tracts that its visits overlap; NULL while it waits for its visit",
)

sky_region = Table(
    "sky_region",
    metadata,
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("ra", ARRAY(Double), nullable=False),
    Column("dec", ARRAY(Double), nullable=False),
    _one_of("kind", RegionKind),
    comment="Corners of tracts and visits, in degrees (ICRS) and in the order in which sphgeom has them",
)

event = Table(
    "event",
    metadata,
    _key(),
    Column("at", _TIME, nullable=False),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False),
    # Names, and ids without a foreign key: the record outlives a group that a new revision drops.
    Column("group_id", BigInteger),
    Column("step", Text),
    Column("group_key", Text),
    Column("submission_id", BigInteger),
    Column("submission_number", Integer),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    _text("reason"),
    Column("from_state", Text),
    Column("to_state", Text),
    # Of a person's order to a group: what it changed of it, as that was before; else NULL.
    Column("before", JSONB),
    Index("ix_event_campaign_id_id", "campaign_id", "id"),
    comment="Every transition: when, who, from, to, why; append-only (a trigger refuses the rest)",
)

notice = Table(
    "notice",
    metadata,
    _key(),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("subject", Text, nullable=False),
    _text("body"),
    Column("created_at", _TIME, nullable=False),
    Column("deliveries", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    UniqueConstraint("campaign_id", "key"),
    comment="What people are told, once each; by channel, when it got there or why not yet",
)

tick = Table(
    "tick",
    metadata,
    _key(),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False, index=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", _TIME, nullable=False),
    Column("finished_at", _TIME),
    Column("actions", Integer),
    Column("error", Text),
    comment="One pass of the reconciler",
)
