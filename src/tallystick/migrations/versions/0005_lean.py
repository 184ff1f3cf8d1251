"""A batch as arrays of entries, which cost client and server less than a column each; and lean admissions."""

from tallystick.base.revision import run_folder

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_folder(__file__, "lean")
