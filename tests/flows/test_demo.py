"""The whole story in one command: what a stranger runs first must work, and its numbers must be right."""

import json
import os
import subprocess
import sys
from decimal import Decimal


def test_the_demo_buys_calls_refuses_and_verifies(tmp_path):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TALLYSTICK_", "DATABASE_"))}
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", "demo", "--json"],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    story = json.loads(done.stdout, parse_float=Decimal)
    plain, streamed = story["calls"]

    assert plain["balance_before"] == 25
    assert plain["balance_after"] == streamed["balance_before"]
    for call in (plain, streamed):
        receipt, booked = call["receipt"], call["booked"]
        # 0.15 and 0.60 credits per million tokens, times 1.25.
        tokens = receipt["usage"]
        exact = (tokens["input_tokens"] * Decimal("0.15") + tokens["output_tokens"] * Decimal("0.60")) / 10**6
        assert booked["cost"] == exact
        assert Decimal(receipt["charge"]) == exact * Decimal("1.25")
        assert call["balance_before"] - call["balance_after"] == exact * Decimal("1.25")
        (moved,) = booked["transfers"]
        assert (moved["debit"], moved["credit"], moved["amount"]) == ("customer", "revenue", exact * Decimal("1.25"))
        assert call["usage"]["completion_tokens"] == tokens["output_tokens"]
    assert story["refused"]["code"] == "insufficient_credits"
    assert len(story["refused"]["metadata"]["ways_out"]) == 2
    # Nothing of the world is left behind.
    assert list(tmp_path.iterdir()) == []
