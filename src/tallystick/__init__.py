"""Tallystick: prepaid credits, quotas and billing on a double-entry ledger, with an OpenAI-compatible gateway."""
