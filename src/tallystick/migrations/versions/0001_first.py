"""The first schema: change feed, ledger, usage records, catalog, accounts, payments."""

from tallystick.base.revision import run_folder

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_folder(__file__, "first")
