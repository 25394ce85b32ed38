"""Measure the studies and write their page: `python -m benchmarks.studies [study …] [--redraw]`."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from typing import Any

from benchmarks.compiled_step import one_thread
from benchmarks.studies.common import FOLDER, PAGE, RESULTS, ROOT, rounded
from benchmarks.studies.page import STUDIES, page

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    """Measure what was asked for, and write the results, the pictures and the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies", description=__doc__)
    parser.add_argument("study", nargs="*", help=f"of {', '.join(STUDIES)}; default all")
    parser.add_argument("--redraw", action="store_true", help="from the stored results")
    given = parser.parse_args(arguments)
    unknown = set(given.study) - set(STUDIES)
    if unknown:
        parser.error(f"no study {', '.join(sorted(unknown))}; there are {', '.join(STUDIES)}")
    results: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name in given.study or STUDIES:
        study = importlib.import_module(f"benchmarks.studies.{name}")
        if not given.redraw:
            start = time.process_time()
            with one_thread():
                results[name] = rounded(study.measure())
            print(f"{name}: {time.process_time() - start:.0f} s", file=sys.stderr)
        study.draw(results[name])
    RESULTS.write_text(json.dumps(results, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(results), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}, pictures in {FOLDER.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
