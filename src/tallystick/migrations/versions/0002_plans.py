"""Plans: subscriptions, constraints documents, claims on meters and features, usage events."""

from tallystick.base.revision import run_folder

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_folder(__file__, "plans")
