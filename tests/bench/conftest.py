"""The benchmarks stand beside the package, not in it."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).parent.parent.parent)
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)
