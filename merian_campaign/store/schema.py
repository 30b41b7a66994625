"""Tables of the tracking database, as SQLAlchemy Core metadata.

What the migrations build; a test holds the two together. Columns for what is queried, JSONB only for
what is merely shown, text with CHECK for states. The views and the trigger that keeps
``event`` append-only live in the migrations.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from merian_campaign.domain.record.records import JobRole
from merian_campaign.domain.sky_regions import RegionKind
from merian_campaign.domain.slurm.slurm_states import JobEnd
from merian_campaign.domain.states import (
    CampaignState,
    GroupState,
    SubmissionOutcome,
    SubmissionState,
)
from merian_campaign.store.board import BOARD_COUNTS
from merian_campaign.store.quanta.quantum_tables import (
    attempt_row,
    group_cells,
    group_hours,
    group_usage,
    quantum_common,
    quantum_count,
    quantum_failure,
    quantum_host,
    quantum_kind,
    quantum_row,
    queue_wait,
)
from merian_campaign.store.table_parts import TIME, count, first, key, metadata, one_of, words

__all__ = [
    "attempt_row",
    "campaign",
    "event",
    "group",
    "group_cells",
    "group_hours",
    "group_usage",
    "memory_use",
    "metadata",
    "notice",
    "quantum_common",
    "quantum_count",
    "quantum_failure",
    "quantum_host",
    "quantum_kind",
    "quantum_row",
    "queue_wait",
    "revision",
    "sky_region",
    "slurm_job",
    "submission",
    "tick",
    "visit_overlap",
]

campaign = Table(
    "campaign",
    metadata,
    key(),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("created_at", TIME, nullable=False),
    Column("updated_at", TIME, nullable=False),
    # NULL: nobody has looked. The basis says what the look rested on.
    Column("overlaps_seen_at", TIME),
    words("overlaps_basis"),
    # Why it is paused or cancelled.
    words("reason"),
    # Of this campaign in this database: what lies in its submissions' directories bears it.
    Column("uuid", Text, nullable=False, server_default=text("(gen_random_uuid())::text")),
    one_of("state", CampaignState),
    UniqueConstraint("name"),
    comment="What a survey lead launched: one campaign file",
)

revision = Table(
    "revision",
    metadata,
    key(),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("spec", JSONB, nullable=False),
    Column("actor", Text, nullable=False),
    Column("applied_at", TIME, nullable=False),
    UniqueConstraint("campaign_id", "number"),
    comment="A campaign file as applied, and what it resolved to; the highest number is in force",
)

group = Table(
    "group",
    metadata,
    key(),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False),
    Column("step", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("ordinal", Integer, nullable=False),
    words("selection_dimension"),
    Column("selection_values", ARRAY(BigInteger), nullable=False, server_default=text("'{}'")),
    Column("state", Text, nullable=False),
    words("reason"),
    Column("accepted", Boolean, nullable=False, server_default=text("false")),
    count("attempts_from"),
    Column("created_at", TIME, nullable=False),
    Column("updated_at", TIME, nullable=False),
    count("stack_from"),
    first("generation"),
    first("published"),
    # Why a person holds it; empty when nobody does.
    words("hold"),
    Column("accepted_until", TIME),
    # What a person asked its next submissions to do differently.
    Column("asked", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    # What the board says of it.
    *(count(name) for name in BOARD_COUNTS.values()),
    count("submissions"),
    Column("no_graph", Boolean, nullable=False, server_default=text("false")),
    words("stack"),
    one_of("state", GroupState),
    UniqueConstraint("campaign_id", "step", "key"),
    comment="One step on one data-ID selection: the unit of work",
)

# Without a foreign key.
quantum_row.add_is_dependent_on(group)

submission = Table(
    "submission",
    metadata,
    key(),
    Column("group_id", BigInteger, ForeignKey(group.c.id), nullable=False),
    Column("number", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Text),
    words("repository"),
    words("run_collection"),
    Column("directory", Text, nullable=False),
    Column("remedy", JSONB, nullable=False),
    words("reason"),
    Column("driver_host", Text),
    Column("driver_pid", Integer),
    Column("driver_started", BigInteger),
    count("epoch"),
    Column("cancel_requested", Boolean, nullable=False, server_default=text("false")),
    Column("created_at", TIME, nullable=False),
    Column("launched_at", TIME),
    Column("claimed_at", TIME),
    Column("lease_expires_at", TIME),
    Column("finished_at", TIME),
    words("driver_job"),
    Column("needs_person", Boolean, nullable=False, server_default=text("false")),
    # Of what it ran under, empty when it ran nothing; and all that its driver found, merely to be shown.
    words("versions_sha"),
    Column("versions", JSONB),
    count("launches"),
    first("generation"),
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
    # What its blocks worked so far, see `BusyBlocks`, up to where its journal was followed.
    Column("busy", JSONB),
    one_of("state", SubmissionState),
    one_of("outcome", SubmissionOutcome),
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
    key(),
    Column("submission_id", BigInteger, ForeignKey(submission.c.id), nullable=False),
    Column("role", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    # Slurm's own word, of which there may be new ones; what it means to us is the fate.
    Column("slurm_state", Text, nullable=False),
    Column("fate", Text, nullable=False),
    words("reason"),
    words("cancelled_by"),
    Column("exit_code", Integer),
    Column("signal", Integer),
    words("nodes"),
    Column("submitted", TIME),
    Column("started", TIME),
    Column("ended", TIME),
    count("restarts"),
    Column("busy_seconds", Double),
    Column("updated_at", TIME, nullable=False),
    one_of("role", JobRole),
    one_of("fate", JobEnd),
    UniqueConstraint("submission_id", "job_id"),
    Index("ix_slurm_job_alive", "submission_id", postgresql_where=text("fate IN ('alive', 'unsure')")),
    comment="A Slurm job of a submission, driver or block, as last seen; times are UTC",
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
    count("raws"),
    # First; NULL where that was before anybody wrote it down.
    Column("seen_at", TIME),
    # When there were last more of them; NULL while all were there at first.
    Column("raws_at", TIME),
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
    one_of("kind", RegionKind),
    comment="Corners of tracts and visits, in degrees (ICRS) and in the order in which sphgeom has them",
)

event = Table(
    "event",
    metadata,
    key(),
    Column("at", TIME, nullable=False),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False),
    # Names, and ids without a foreign key: the record outlives a group that a new revision drops.
    Column("group_id", BigInteger),
    Column("step", Text),
    Column("group_key", Text),
    Column("submission_id", BigInteger),
    Column("submission_number", Integer),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    words("reason"),
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
    key(),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("subject", Text, nullable=False),
    words("body"),
    Column("created_at", TIME, nullable=False),
    Column("deliveries", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    UniqueConstraint("campaign_id", "key"),
    comment="What people are told, once each; by channel, when it got there or why not yet",
)

tick = Table(
    "tick",
    metadata,
    key(),
    Column("campaign_id", BigInteger, ForeignKey(campaign.c.id), nullable=False, index=True),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", TIME, nullable=False),
    Column("finished_at", TIME),
    Column("actions", Integer),
    Column("error", Text),
    comment="One pass of the reconciler",
)
