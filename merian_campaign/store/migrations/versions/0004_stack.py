"""Versions of the LSST stack that submissions ran under, and failures that only a person can mend.

The statements are in the SQL file of the same name, for administrators to read and run by hand.
"""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns to ``submission`` and ``"group"``."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
