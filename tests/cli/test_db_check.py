"""`db check` holds what the board shows against what is on record, and counts it anew when asked to."""

from __future__ import annotations

import psycopg2
from cli_help import Cli

DAMAGE = (
    'UPDATE "group" SET quanta_succeeded = 5 WHERE campaign_id = (SELECT id FROM campaign WHERE name = %s)'
)


def test_a_board_that_is_wrong_is_told_and_counted_anew(
    cli: Cli, sql: psycopg2.extensions.connection
) -> None:
    name = cli.applied()
    with sql.cursor() as cursor:
        cursor.execute(DAMAGE, (name,))
    said = cli("db", "check").refused(65, f"{name}: ", "of succeeded quanta the board has 5, there are 0")
    assert "`merian-campaign db check --repair` counts them anew" in said
    assert "counted anew" in cli("db", "check", "--repair").fine()
    assert "the board is what is counted" in cli("db", "check").fine()
    assert "what every quantum says" in cli("db", "check", "--quanta", "--repair").fine()
