"""A shorter key of quanta, shorter paths of logs, and indexes of what is asked for most.

The statements are in the SQL file of the same name, for administrators to read and run by hand.
"""

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change keys, paths and indexes of the quanta."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
