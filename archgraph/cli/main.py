"""Run a verb: parse the arguments, load what it needs, print, and return the exit code.

Exit codes: 0 good; 1 the spec is bad or a check failed; 2 wrong usage; 3 a bug of archgraph's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from archgraph.cli.arguments import parse_arguments
from archgraph.cli.printing import print_json, warn
from archgraph.errors import ArchgraphError, SpecError, UsageError

__all__ = ["main"]

DEBUG = "ARCHGRAPH_DEBUG"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: The arguments without the program's name; default those of the process.
    """
    try:
        arguments = parse_arguments(sys.argv[1:] if argv is None else argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except SpecError as error:
        _print_problems(error, as_json="--json" in (sys.argv[1:] if argv is None else argv))
        return 1
    except UsageError as error:
        warn(f"error: {error}")
        return 2
    except ArchgraphError as error:
        warn(f"error: {error}")
        return 1
    except BrokenPipeError:
        # The reader of a pipe went away; what it wanted, it has.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        warn("interrupted")
        return 130
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        warn(f"internal error: {type(error).__name__}: {error}")
        warn(f"this is a bug of archgraph; {DEBUG}=1 shows where it is")
        return 3


def _print_problems(error: SpecError, *, as_json: bool) -> None:
    if as_json:
        print_json({"ok": False, "problems": [problem.to_dict() for problem in error.problems]})
    else:
        warn(str(error))
