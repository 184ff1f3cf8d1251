import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def tallystick(dsn, tmp_path):
    """Run one command as a user would; the parsed JSON where --json was given, else what it printed.

    `code` None takes any exit code; where one is expected, what was said on standard error comes back."""

    def run(*words, code=0, stdin=None, **environment):
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TALLYSTICK_", "STRIPE_", "DATABASE_"))
        }
        done = subprocess.run(
            [sys.executable, "-m", "tallystick", *words],
            env={**clean, "DATABASE_URL": dsn, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
            check=False,
        )
        assert code in {None, done.returncode}, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        if code:
            return done.stderr
        return json.loads(done.stdout, parse_float=str) if "--json" in words else done.stdout

    return run
