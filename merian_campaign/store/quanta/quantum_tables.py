"""Tables of quanta and of what is kept of them, as SQLAlchemy Core metadata; see `schema`."""

from __future__ import annotations

from sqlalchemy import (
    REAL,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.schema import SchemaItem

from merian_campaign.domain.states import QuantumState, Verdict
from merian_campaign.store.table_parts import TIME, key, metadata, one_of


def _entry(name: str, *columns: SchemaItem, comment: str) -> Table:
    """Return a dictionary of a campaign: entries that many quanta have in common, found by a digest."""
    return Table(
        name,
        metadata,
        Column("id", Integer, Identity(always=True), primary_key=True),
        Column("campaign_id", BigInteger, ForeignKey("campaign.id"), nullable=False),
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

quantum_failure = _entry(
    "quantum_failure",
    Column("state", Text, nullable=False),
    Column("charged", Boolean, nullable=False),
    Column("signal", Integer),
    *(
        Column(name, Text)
        for name in ("verdict", "evidence", "exception_type", "exception_message", "exception_bases")
    ),
    # How sure the verdict is.
    *(Column(name, Text) for name in ("certainty", "rule", "remedy")),
    one_of("state", QuantumState),
    one_of("verdict", Verdict),
    comment="How attempts went that were no plain success: what many have in common",
)

_STATE = "COALESCE(state, 'succeeded'::text)"

# The view `quantum` has it as people need it. In this order nothing is lost to alignment; NULL is what most
# have.
quantum_row = Table(
    "quantum_row",
    metadata,
    key(),
    Column("updated_at", TIME, nullable=False),
    Column("started", TIME),
    Column("ended", TIME),
    Column("visit", BigInteger),
    Column("exposure", BigInteger),
    # The quantum that it stands behind, while it is blocked.
    Column("blocked_by", BigInteger, info={"refers": "quantum_row"}),
    # Foreign keys would be looked up for every row; groups and entries go with their campaign alone.
    Column("group_id", Integer, nullable=False, info={"within": "group"}),
    Column("kind_id", Integer, nullable=False, info={"refers": "quantum_kind"}),
    Column("common_id", Integer, nullable=False, info={"refers": "quantum_common"}),
    Column("host_id", Integer, info={"refers": "quantum_host"}),
    # Of the last attempt; whose facts the state is, and the one whose first try, a success, has no row of its
    # own, unless they are the same.
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
    one_of("state", QuantumState),
    one_of("verdict", Verdict),
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
    # Of those that may tell an attempt which the view of attempts shows.
    Index("ix_quantum_row_again", "id", postgresql_where=text("attempts > 1")),
    comment="Current state of each predicted quantum, as short as it can be stored; read the view quantum "
    "instead",
)

# The view `stored_attempt` has it as people need it, but for what quanta tell (`quantum_attempt`).
attempt_row = Table(
    "attempt_row",
    metadata,
    Column("quantum_id", BigInteger, ForeignKey(quantum_row.c.id), primary_key=True, index=True),
    Column("recorded_at", TIME, nullable=False),
    Column("started", TIME),
    Column("ended", TIME),
    Column("submission_id", Integer, ForeignKey("submission.id"), primary_key=True),
    Column("common_id", Integer, nullable=False, info={"refers": "quantum_common"}),
    Column("host_id", Integer, info={"refers": "quantum_host"}),
    # NULL: a plain success.
    Column("failure_id", Integer, info={"refers": "quantum_failure"}),
    Column("peak_mb", Integer),
    Column("cpu_seconds", REAL),
    # At most 32767, as in `quantum_row`.
    Column("inputs", SmallInteger),
    Column("try", SmallInteger, primary_key=True),
    # In the path of its log, if that has a form; and its own, if that is another.
    Column("log_uuid", Uuid),
    Column("uuid", Text),
    Column("slurm_job", Text),
    # Where they are no others'.
    Column("evidence", Text),
    Column("exception_message", Text),
    Column("log_path", Text),
    Column("log_tail", Text),
    # In this order it has no gaps.
    PrimaryKeyConstraint("submission_id", "try", "quantum_id"),
    comment="Attempts that their quanta do not tell, as short as they can be stored; read the view "
    "quantum_attempt instead",
)

quantum_count = Table(
    "quantum_count",
    metadata,
    Column("group_id", BigInteger, ForeignKey("group.id"), primary_key=True),
    Column("task", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    one_of("state", QuantumState),
    comment="Cache: quanta by state, recounted in the transaction that changes them; never the truth",
)

group_usage = Table(
    "group_usage",
    metadata,
    Column("group_id", BigInteger, ForeignKey("group.id"), primary_key=True),
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
    Column("runs", Integer, nullable=False),
    Column("runs_failed", Integer, nullable=False),
    Column("runs_requested_mb", Integer),
    Column("runs_peak_mb", Integer),
    Column("runs_seconds", Double),
    Column("runs_longest", Double),
    *(
        Column(name, ARRAY(Integer), nullable=False)
        for name in ("requests", "requests_runs", "peaks_runs", "times_runs")
    ),
    comment="Cache: last attempts, and all executions (runs), of a group that is over, by task, with bins of "
    "peaks (MiB) and run times (s): fifty times the logarithm, and how many; never the truth",
)

group_hours = Table(
    "group_hours",
    metadata,
    Column("group_id", BigInteger, ForeignKey("group.id"), primary_key=True),
    Column("hour", TIME, primary_key=True),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("runs_succeeded", Integer, nullable=False),
    Column("runs_failed", Integer, nullable=False),
    comment="Cache: last attempts, and all executions, of a group that is over, by the hour (UTC) in which "
    "they ended; never the truth",
)

group_cells = Table(
    "group_cells",
    metadata,
    Column("group_id", BigInteger, ForeignKey("group.id"), primary_key=True),
    Column("tract", Integer, primary_key=True),
    Column("band", Text, primary_key=True),
    Column("state", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    *(
        Column(name, Integer, nullable=False)
        for name in ("caveats", "no_work", "upstream", "unprocessable", "partial")
    ),
    one_of("state", QuantumState),
    comment="Cache: quanta of a group that is over, by tract (-1: none), band (empty: none) and state, and "
    "successes by their caveats; never the truth",
)

queue_wait = Table(
    "queue_wait",
    metadata,
    Column("submission_id", BigInteger, ForeignKey("submission.id"), primary_key=True),
    Column("task", Text, primary_key=True),
    Column("n", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("seconds_longest", Double, nullable=False),
    Column("waits", ARRAY(SmallInteger), nullable=False),
    Column("waits_n", ARRAY(Integer), nullable=False),
    comment="Executions of a submission by task: seconds from when they could start until they did, with "
    "bins: fifty times the logarithm, and how many",
)
