"""Which tracts the exposures of a campaign overlap.

The statements are in the SQL file of the same name, for administrators to read and run by hand.
"""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table ``visit_overlap``, and note with a campaign when it was filled."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
