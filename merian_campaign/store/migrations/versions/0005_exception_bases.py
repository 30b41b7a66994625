"""What the exceptions of attempts are by class; Slurm jobs of which it is not known whether they are over.

The statements are in the SQL file of the same name, for administrators to read and run by hand.
"""

from pathlib import Path

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns to ``quantum`` and ``quantum_attempt``, and a fate to ``slurm_job``."""
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
