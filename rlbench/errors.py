"""The one exception that a user is meant to read, and words for its sentences."""

import contextlib
from collections.abc import Iterator

_LONGEST = 200  # characters of a value in a message


class RlbenchError(Exception):
    """Bad input or a failed run, said in one clear sentence: what is wrong, where, and what would be right.

    The command line prints the message without a traceback and exits with a non-zero status;
    `--debug` shows the traceback.
    """


@contextlib.contextmanager
def explained(failure: str) -> Iterator[None]:
    """Turn what the system refuses meanwhile into a sentence, such as `Cannot write x: No space left on device.`"""
    try:
        yield
    except OSError as problem:
        raise RlbenchError(f"{failure}: {problem.strerror or problem}.") from problem


def brief(value: object) -> str:
    """Return the repr of whatever a user gave, shortened in the middle; of what has none, its type."""
    try:
        text = repr(value)
    except Exception:  # it is somebody's object, or nested too deeply
        return f"<{type(value).__name__}>"
    return shortened(text, _LONGEST)


def shortened(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters, of which the middle is left out where it has more."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 5]} ... {text[-end:]}"


def nearest(word: str, known: "list[str] | tuple[str, ...]") -> str:
    """Return ` Did you mean 'x'?` for the known names that `word` begins, is a part of or is closest to; else all."""
    import difflib
    import re

    close = [name for name in sorted(known) if word in re.split("[-_. ]", name)]
    if len(stem := word.rstrip("s")) > 2:
        close = close or [name for name in sorted(known) if name.startswith(stem)]
    close = close[:4] or difflib.get_close_matches(word, known, n=1, cutoff=0.55)
    *others, last = map(repr, close or [""])
    names = f"{', '.join(others)} or {last}" if others else last
    return f" Did you mean {names}?" if close else f" Known: {', '.join(sorted(known))}."
