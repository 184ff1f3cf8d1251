"""${message}"""

from tallystick.base.revision import run_folder

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    run_folder(__file__, "${message}")
