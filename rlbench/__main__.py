"""`python -m rlbench` is `rlbench`."""

import contextlib
import os
import signal
import sys


def start() -> None:
    """Run the command line.

    Ctrl-C while it is still being imported is no error either, and where the output cannot be written, since a disk is
    full or the reader of a pipe has gone, one line on the error stream says so.
    """
    try:
        try:
            from rlbench.cli import main

            main()
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except (KeyboardInterrupt, SystemExit) as end:
        code = 130 if isinstance(end, KeyboardInterrupt) else end.code
        if code == 130:  # a second Ctrl-C would interrupt Python's own way out, which complains about that
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise SystemExit(code) from None
    except OSError as problem:
        with contextlib.suppress(OSError):
            print(f"error: the output cannot be written: {problem.strerror or problem}.", file=sys.stderr, flush=True)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # what is left to be flushed is of no use, and must not be complained about
            os.dup2(nowhere, stream)
        raise SystemExit(1) from None


if __name__ == "__main__":
    start()
