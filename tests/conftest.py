"""What holds for every test.

Property tests draw the same examples on every run, so that a submission never fails for another
one's defect. `make fuzz` draws new ones: what it finds becomes an example of its own.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("fixed", derandomize=True)
settings.register_profile("fuzz", max_examples=1000)
settings.load_profile("fuzz" if os.environ.get("ARCHGRAPH_FUZZ") else "fixed")
