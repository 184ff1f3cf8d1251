"""Kinds of accounts and transfers for money that comes from Stripe and goes back. Alone, for PostgreSQL lets nobody use
a value of an enum in the transaction that adds it."""

from tallystick.base.revision import run_folder

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_folder(__file__, "kinds")
