"""A claim: a sentence about arms that runs can support, refute or leave open, written down before they start.

    Claim(
        "PPO-Clip is nearly as good as TRPO",
        arms=["ppo-clip", "trpo"],
        direction="not-less",
        metric="auc_normalised",
        smallest_effect=0.05,
    )

Pure data, JSON both ways; `rlbench.analysis.judge.verdicts` judges it. Theta is what the claim is about: the mean of
the first arm minus that of each other one, the change over an ordered list of arms, or a mean or share minus `bound`;
d is `smallest_effect`.

    greater        theta > d                      less           theta < -d
    different      |theta| > d                    equivalent     |theta| < d
    not-less       theta > -d, non-inferiority    not-greater    theta < d
    increasing     the arms in the order given rise by more than d from first to last, as a linear trend
    decreasing     the arms fall by more than d
    peak           `best` exceeds both ends of the arms by more than d
    dip            `best` stays below both ends by more than d
    above, below   mean (or share of runs with `event`) beyond `bound` by more than d, for every arm
    within         mean or share less than d from `bound`, for every arm
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple, Self

from rlbench.errors import RlbenchError, brief, nearest
from rlbench.files import is_number, is_text


class Direction(NamedTuple):
    """What a direction is about, what a claim of it says, and where theta then lies.

    kind     "pair": the first arm and each other one; "trend": ordered arms; "inner": the best of ordered arms and both
             ends; "bound": each arm and a number
    words    with the metric, the arms and d in them: `by` is "by more than d" or empty, `d` the number alone
    low      theta lies above the bound (or 0) plus so many d; None: no limit on this side
    high     theta lies below the bound (or 0) plus so many d
    outside  theta does not lie between the two limits, but beyond them
    """

    kind: str
    words: str
    low: int | None = None
    high: int | None = None
    outside: bool = False


_LIMITED = "for {arms} the {metric} is {limits}"
DIRECTIONS: Mapping[str, Direction] = {
    "greater": Direction("pair", "{first} exceeds {others} in {metric}{by}", low=1),
    "less": Direction("pair", "{first} stays below {others} in {metric}{by}", high=-1),
    "different": Direction("pair", "{first} and {others} differ in {metric}{by}", -1, 1, outside=True),
    "equivalent": Direction("pair", "{first} and {others} differ in {metric} by less than {d}", -1, 1),
    "not-less": Direction("pair", "{first} is at most {d} below {others} in {metric}", low=-1),
    "not-greater": Direction("pair", "{first} is at most {d} above {others} in {metric}", high=1),
    "increasing": Direction("trend", "the {metric} rises from {first} to {last}{by}", low=1),
    "decreasing": Direction("trend", "the {metric} falls from {first} to {last}{by}", high=-1),
    "peak": Direction("inner", "{best} exceeds both {first} and {last} in {metric}{by}", low=1),
    "dip": Direction("inner", "{best} stays below both {first} and {last} in {metric}{by}", high=-1),
    "above": Direction("bound", _LIMITED, low=1),
    "below": Direction("bound", _LIMITED, high=-1),
    "within": Direction("bound", _LIMITED, -1, 1),
}
_FEWEST_ARMS = {"bound": 1, "pair": 2, "trend": 3, "inner": 3}
FEWEST_PUBLISHED = 3  # arms that a rank correlation says something of
DESCRIBING = ("id", "source", "known")
"""Fields that say where a claim comes from, and nothing of what is judged."""

_METRIC = re.compile(r"[A-Za-z_][\w.]*(:(mean|final|min|max|std|last|q(0|1|0?\.\d+)|share[<>]=?[-+.\deE]+))?")
_EVENT = re.compile(r"(>=|<=|>|<) *([-+.\deE]+)")
RETURNS = ("auc", "final", "last100", "eval_auc", "eval_final", "eval_final_sampled", "eval_best")
"""Metrics in units of the episode return; each also exists `_normalised`."""


@dataclass(frozen=True)
class Claim:
    """One claim; see the module for what each direction says.

    statement        the claim in words
    arms             labels; what is compared with what depends on the direction
    direction        one of `DIRECTIONS`
    metric           one number per run: a column of the scores or runs (`auc`, `final_normalised`, `seconds`), or of
                     the updates or episodes with a reduction (`kl:mean`, `clip_fraction:q0.9`, `grad_norm:max`,
                     `ratio_max:share>1.2`); reductions: mean, final (last tenth of the budget), last, min, max, std,
                     qQ, share>X
    smallest_effect  d, in units of the metric: differences no larger are of no interest
    environments     labels; empty: all of the experiment
    over             "each": the claim is made of every environment; "mean": of the mean over environments
    bound            the number of above, below and within
    event            with it, the share of runs with such a metric is meant: ">= 0.9"
    best             the inner arm of peak and dip
    paired           compare runs of one seed with each other
    level            of the intervals
    id               its number in the text that makes the claim, such as "22b"
    source           where the claim is made
    known            what is known of it from elsewhere, with the source

    The last three describe the claim and are no part of what is judged: `digest` leaves them out.

    Raises:
        RlbenchError: an entry is missing, of the wrong kind, or does not go with the direction.
    """

    statement: str
    arms: tuple[str, ...]
    direction: str
    metric: str = "auc_normalised"
    smallest_effect: float = 0.0
    environments: tuple[str, ...] = ()
    over: str = "each"
    bound: float | None = None
    event: str | None = None
    best: str | None = None
    paired: bool = False
    level: float = 0.95
    id: str = ""
    source: str = ""
    known: str = ""

    def __post_init__(self) -> None:
        if not is_text(self.statement) or not self.statement.strip():
            raise RlbenchError(f"A claim needs its statement in words, not {brief(self.statement)}.")
        for problem in self._problems():
            raise RlbenchError(f"{self.where}: {problem}")
        for name in ("arms", "environments"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def where(self) -> str:
        """How messages refer to the claim."""
        return f"Claim {brief(self.statement)}"

    @property
    def kind(self) -> str:
        """What the claim is about: the kind of its direction."""
        return DIRECTIONS[self.direction].kind

    @property
    def limits(self) -> tuple[float, float]:
        """The limits of theta between which the claim puts it, or beyond which: see `Direction`."""
        low, high = DIRECTIONS[self.direction][2:4]
        origin, d = self.bound or 0.0, self.smallest_effect
        return -math.inf if low is None else origin + low * d, math.inf if high is None else origin + high * d

    @property
    def condition(self) -> tuple[str, float] | None:
        """The operator and the number of `event`."""
        match = _EVENT.fullmatch(self.event) if self.event else None
        return (match[1], float(match[2])) if match and _is_finite(match[2]) else None

    def document(self) -> dict[str, Any]:
        """Return the claim as JSON; `from_document` reads it back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    def _problems(self) -> Iterator[str]:
        # Each check relies on those before it: only the first problem is shown.
        for name in ("arms", "environments"):
            yield from _not_labels(name, getattr(self, name))
        for name in (*DESCRIBING, "event", "best"):
            value = getattr(self, name)
            if not is_text(value) and (name in DESCRIBING or value is not None):
                yield f"{name} must be a text, not {brief(value)}."
        paired: Any = self.paired
        if not isinstance(paired, bool):
            yield f"paired must be True or False, not {brief(paired)}."
        if not isinstance(self.direction, str) or self.direction not in DIRECTIONS:
            hint = nearest(str(self.direction), list(DIRECTIONS))
            yield f"there is no direction {brief(self.direction)}.{hint}"
        if not isinstance(self.metric, str) or not _METRIC.fullmatch(self.metric):
            yield (
                "metric must be a column such as auc, or a column with a reduction such as kl:mean, clip_fraction:q0.9 "
                f"or ratio_max:share>1.2, not {brief(self.metric)}."
            )
        if not isinstance(self.over, str) or self.over not in ("each", "mean"):
            yield f"over must be 'each' or 'mean', not {brief(self.over)}."
        if self.over == "mean" and self.metric in RETURNS and len(self.environments) != 1:
            yield (
                "returns of different environments have different units; "
                f"over='mean' needs the metric {self.metric}_normalised."
            )
        beyond = self.metric.partition(":share")[2].lstrip("<>=")
        if beyond and not _is_finite(beyond):
            yield f"{brief(self.metric)} compares with {brief(beyond)}, which is not a number."
        if self.event is not None and not self.condition:
            yield f"event must be a comparison such as '>= 0.9', not {brief(self.event)}."
        yield from self._wrong_numbers()
        yield from self._wrong_arms()

    def _wrong_numbers(self) -> Iterator[str]:
        for name in ("smallest_effect", "level", "bound"):
            value = getattr(self, name)
            if not is_number(value) and (name != "bound" or value is not None):
                yield f"{name} must be a number, not {brief(value)}."
        if self.smallest_effect < 0:
            yield f"smallest_effect is a size and cannot be {self.smallest_effect}."
        _, _, low, high, outside = DIRECTIONS[self.direction]
        if self.smallest_effect == 0 and not outside and (low == -1 or high == 1):
            yield (
                f"{self.direction!r} needs a smallest_effect above 0: no number of runs can show that a difference is "
                "exactly 0."
            )
        if not 0.5 <= self.level <= 0.999:
            yield f"level must be at least 0.5 and at most 0.999, not {self.level}."

    def _wrong_arms(self) -> Iterator[str]:
        kind = self.kind
        if kind == "bound" and self.bound is None:
            yield f"{brief(self.direction)} needs a bound."
        if kind != "bound" and (self.bound is not None or self.event is not None):
            yield f"{'bound' if self.bound is not None else 'event'} goes with above, below and within only."
        if len(self.arms) < _FEWEST_ARMS[kind]:
            yield f"{brief(self.direction)} needs at least {_FEWEST_ARMS[kind]} arms, not {len(self.arms)}."
        inner = self.arms[1:-1]
        if kind == "inner" and self.best not in inner:
            yield f"best must be one of the inner arms {', '.join(inner)}, not {brief(self.best)}."
        if kind != "inner" and self.best is not None:
            yield "best goes with peak and dip only."
        if self.event is not None and self.bound is not None and not 0 <= self.bound <= 1:
            yield f"the bound of a share lies between 0 and 1, not at {self.bound}."


@dataclass(frozen=True)
class Published:
    """What a publication reports of the arms of an experiment, to be shown beside what comes out.

    source  where the numbers stand
    scores  a number for each arm that it reports, by label
    metric  what they are of: a metric of this experiment in units of the episode return

    The numbers are the publication's own: averages over tasks on whatever scale it has. Compared are ranks.

    Raises:
        RlbenchError: an entry is of the wrong kind.
    """

    source: str
    scores: Mapping[str, float]
    metric: str = "last100"

    def __post_init__(self) -> None:
        if not is_text(self.source) or not self.source.strip():
            raise RlbenchError(f"Published numbers need their source, not {brief(self.source)}.")
        if not isinstance(self.scores, Mapping) or len(self.scores) < FEWEST_PUBLISHED:
            raise RlbenchError(
                f"Published numbers are those of three arms or more, by label, not {brief(self.scores)}."
            )
        for label, score in self.scores.items():
            if not is_number(score):
                raise RlbenchError(f"The published score of {brief(label)} must be a number, not {brief(score)}.")
        if self.metric not in RETURNS:
            raise RlbenchError(f"metric must be one of {', '.join(RETURNS)}, not {brief(self.metric)}.")

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Self:
        """Return what `document` wrote; entries that are not known are passed over."""
        return cls(**{field.name: document[field.name] for field in fields(cls) if field.name in document})

    def document(self) -> dict[str, Any]:
        """Return the entries as JSON."""
        return {"source": self.source, "scores": dict(self.scores), "metric": self.metric}


def from_document(document: Mapping[str, Any]) -> Claim:
    """Return the claim that `Claim.document` wrote; RlbenchError where it is not one."""
    if not isinstance(document, Mapping):
        raise RlbenchError(f"A claim is a mapping with a statement, arms and a direction, not {brief(document)}.")
    known = [field.name for field in fields(Claim)]
    for key in document:
        if key not in known:
            raise RlbenchError(f"A claim has no entry {brief(key)}.{nearest(str(key), known)}")
    for key in ("statement", "arms", "direction"):
        if key not in document:
            raise RlbenchError(f"A claim needs the entry {brief(key)}, and {brief(dict(document))} has none.")
    return Claim(**document)


def digest(claims: Iterable[Claim | Mapping[str, Any]]) -> str:
    """Return the SHA-256 of claims: of their JSON with sorted keys, in the order in which they are made."""
    documents = [(claim if isinstance(claim, Claim) else from_document(claim)).document() for claim in claims]
    documents = [{key: value for key, value in document.items() if key not in DESCRIBING} for document in documents]
    text = json.dumps(documents, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _not_labels(what: str, value: Any) -> Iterator[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        yield f"{what} must be a list of labels, not {brief(value)}."
    for label in value:
        if not isinstance(label, str) or not label:
            yield f"{what} must be labels, and {brief(label)} is not one."
        if list(value).count(label) > 1:
            yield f"{what} names {brief(label)} twice."
