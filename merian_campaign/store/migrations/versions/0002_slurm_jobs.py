"""Slurm jobs of submissions: their drivers and blocks.

The statements are in the SQL file of the same name, for administrators to read and run by hand.
"""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table ``slurm_job``, and note the name of a driver's job with its submission."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
