"""Why a campaign is paused, what is held, and what people are told.

The statements are in the SQL file of the same name, for administrators to read and run by hand.
"""

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns to ``campaign`` and ``group``, and the table ``notice``."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
