"""Payments in full: organizations, notices, the audit log, orders, refunds, Stripe's subscriptions and meters."""

from tallystick.base.revision import run_folder

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_folder(__file__, "payments")
