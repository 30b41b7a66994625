"""Read a campaign at one moment, in a number of statements that does not grow with it."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import Connection, text

from merian_campaign.domain.execution.quanta import OpenQuanta
from merian_campaign.domain.readiness.generations import MadeFrom
from merian_campaign.domain.record.snapshot import CampaignView, GroupView, Snapshot, SubmissionView
from merian_campaign.store.campaigns import require_campaign
from merian_campaign.store.overlaps import load_overlaps
from merian_campaign.store.rows import counts_of, group_view, made_from, open_quanta, submission_view
from merian_campaign.store.server.database import Database

_WHICH = "g.campaign_id = :campaign_id AND (CAST(:group_id AS bigint) IS NULL OR g.id = :group_id)"

_GROUPS = text(f'SELECT g.* FROM "group" AS g WHERE {_WHICH} ORDER BY g.ordinal, g.id')  # noqa: S608

_SUBMISSIONS = text(f"""
    SELECT s.* FROM submission AS s JOIN "group" AS g ON g.id = s.group_id
    WHERE {_WHICH} ORDER BY s.group_id, s.number
""")  # noqa: S608

# One quantum of each sum lends its message: found by its key afterwards, which spares dragging long
# texts through the sums.
_OPEN = text(f"""
    SELECT o.*, q.exception_type, q.exception_message,
           CASE WHEN o.remedy IS NULL THEN 0 ELSE (
               SELECT sum(n.n) FROM quantum_count AS n
               WHERE n.group_id = o.group_id AND n.task = o.task AND n.state <> 'superseded'
           ) END::integer AS of_task
    FROM (
        SELECT q.group_id, q.task, q.state, q.verdict, q.charged_attempts, q.memory_attempts,
               q.requested_mb, q.tolerated, q.rule, q.remedy,
               b.task AS behind_task, b.verdict AS behind_verdict,
               count(*) AS number, max(q.peak_mb) AS peak_mb,
               max(extract(epoch FROM q.ended - q.started)::double precision)
                   FILTER (WHERE q.remedy = 'longer') AS seconds,
               array_agg(DISTINCT q.host) FILTER (WHERE q.remedy = 'leave_out_node' AND q.host IS NOT NULL)
                   AS hosts,
               min(q.id) AS one
        FROM quantum AS q JOIN "group" AS g ON g.id = q.group_id
        LEFT JOIN quantum AS b ON b.id = q.blocked_by
        WHERE q.state NOT IN ('succeeded', 'superseded') AND {_WHICH}
        GROUP BY q.group_id, q.task, q.state, q.verdict, q.charged_attempts, q.memory_attempts,
                 q.requested_mb, q.tolerated, q.rule, q.remedy, b.task, b.verdict
    ) AS o
    JOIN quantum AS q ON q.id = o.one
    ORDER BY o.group_id, o.task, o.charged_attempts, o.memory_attempts DESC, o.one
""")  # noqa: S608


def load_groups(
    connection: Connection, *, campaign_id: int, group_id: int | None = None
) -> tuple[GroupView, ...]:
    """Return a campaign's groups with all that belongs to them, or one of them."""
    which = {"campaign_id": campaign_id, "group_id": group_id}
    submissions: dict[int, list[SubmissionView]] = defaultdict(list)
    made: dict[int, list[MadeFrom]] = defaultdict(list)
    for row in connection.execute(_SUBMISSIONS, which).mappings().all():
        submissions[row["group_id"]].append(submission_view(row))
        made[row["group_id"]].append(made_from(row))
    groups = connection.execute(_GROUPS, which).mappings().all()
    unfinished: dict[int, list[OpenQuanta]] = defaultdict(list)
    # A driver claims most groups before they have any.
    if any(counts_of(row).open for row in groups):
        for row in connection.execute(_OPEN, which).mappings().all():
            unfinished[row["group_id"]].append(open_quanta(row))
    return tuple(
        group_view(
            row,
            submissions=tuple(submissions.get(row["id"], ())),
            made=made.get(row["id"], ()),
            open_quanta=tuple(unfinished.get(row["id"], ())),
        )
        for row in groups
    )


def load_one(connection: Connection, *, group_id: int) -> tuple[CampaignView, GroupView]:
    """Return a group and its campaign."""
    name = connection.execute(
        text('SELECT c.name FROM campaign AS c JOIN "group" AS g ON g.campaign_id = c.id WHERE g.id = :id'),
        {"id": group_id},
    ).scalar_one()
    campaign = require_campaign(connection, name)
    (group,) = load_groups(connection, campaign_id=campaign.id, group_id=group_id)
    return campaign, group


class SnapshotStore(Database):
    """The part of the store that reads whole campaigns."""

    def snapshot(self, name: str) -> Snapshot:
        """Return the whole campaign, in a number of statements that does not grow with its groups.

        Raises
        ------
        BadInputError
            Raised if there is no such campaign.
        """
        with self._reading() as connection:
            campaign = require_campaign(connection, name, resumed=True)
            return Snapshot(
                campaign=campaign,
                groups=load_groups(connection, campaign_id=campaign.id),
                overlaps=load_overlaps(connection, campaign_id=campaign.id),
            )
