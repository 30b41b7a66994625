"""A reader's folder: the files of the checkout, a repository, and the demo's campaign, one failed quantum."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from forked_program import run_forked

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("merian-campaign")
GROUP = ("step3", "tract9814")

_FAILED = """
    WITH one AS (
        SELECT g.id FROM "group" AS g JOIN campaign AS c ON c.id = g.campaign_id
        WHERE c.name = 'demo' AND g.step = %(step)s AND g.key = %(key)s
    ), sent AS (
        INSERT INTO submission (group_id, number, state, outcome, directory, remedy, created_at, finished_at)
        SELECT id, 1, 'finished', 'partial', %(folder)s, '{"memory_mb": {}, "workers": null}', now(), now()
        FROM one RETURNING id, group_id
    ), counted AS (
        INSERT INTO quantum_count (group_id, task, state, n) SELECT id, 'deblend', 'failed', 1 FROM one
    ), on_the_board AS (
        UPDATE "group" AS g SET quanta_failed = 1, submissions = 1 FROM one WHERE g.id = one.id
    ), kind AS (
        INSERT INTO quantum_kind (campaign_id, digest, task, data_id)
        SELECT id, md5('=deblend' || chr(31) || '=' || form)::uuid, 'deblend', form
        FROM campaign, (VALUES ('patch=%%5$s,skymap=hsc_rings_v1,tract=%%4$s')) AS f (form)
        WHERE name = 'demo' RETURNING id
    ), common AS (
        INSERT INTO quantum_common (campaign_id, digest) SELECT id, gen_random_uuid()
        FROM campaign WHERE name = 'demo' RETURNING id
    )
    INSERT INTO quantum_row (group_id, kind_id, common_id, tract, patch, state, no_first_try, verdict,
                             evidence, log_path, submission_id, updated_at)
    SELECT s.group_id, k.id, c.id, 9814, 1, 'failed', true, 'algorithm',
           'the task says that a retry cannot help', %(log)s, s.id, now()
    FROM sent AS s, kind AS k, common AS c
"""
_AS_IT_WAS = """
    UPDATE campaign SET state = 'paused' WHERE name = 'demo';
    UPDATE "group" SET state = 'needs_review', accepted = false WHERE step = 'step3' AND key = 'tract9814';
"""


@dataclass(frozen=True)
class Place:
    """Where commands of the documentation are typed."""

    folder: Path

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MERIAN_CAMPAIGN")}
        return {
            **kept,
            "PATH": f"{PROGRAM.parent}{os.pathsep}{kept['PATH']}",
            "MERIAN_CAMPAIGN_HOME": str(self.folder / "home"),
            "DEMO_DIR": str(self.folder / "build" / "demo"),
        }

    def type(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command here."""
        return run_forked(*words, env=self.environ, cwd=self.folder)

    def sql(self, statement: str, values: dict[str, str] | None = None) -> list[tuple[object, ...]]:
        """Run statements in the tracking database; return the rows of the last one."""
        with closing(psycopg2.connect(self.url)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    @property
    def url(self) -> str:
        file = self.folder / "url"
        if not file.exists():
            done = self.type("db", "url")
            assert done.returncode == 0, done.stderr
            file.write_text(done.stdout.strip().replace("postgresql+psycopg2://", "postgresql://"))
        return file.read_text()

    def fill(self) -> None:
        """Make the repository, apply the campaign, put one failed quantum on record."""
        from demo_repository import copied_repository  # noqa: PLC0415 - imports lsst

        copied_repository(self.folder / "build" / "demo")
        done = self.type("apply", "campaign/demo.yaml")
        assert done.returncode == 0, done.stderr
        log = self.folder / "deblend.log"
        log.write_text("InjectedAlgorithmError\n")
        step, key = GROUP
        self.sql(_FAILED, {"step": step, "key": key, "folder": str(self.folder), "log": str(log)})
        self.as_it_was()

    def as_it_was(self) -> None:
        """Undo what commands on the campaign have done; it is paused, so that none starts anything."""
        self.sql(_AS_IT_WAS)


def make_place(folder: Path) -> Place:
    for name in ("campaign", "bps_configs", "site", "merian_campaign"):
        (folder / name).symlink_to(ROOT / name)
    return Place(folder)
