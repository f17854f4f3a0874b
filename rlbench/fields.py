"""Hyper-parameters as dataclass fields: declaring, listing and checking them."""

import dataclasses
import inspect
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from rlbench.errors import RlbenchError, brief, nearest

T = TypeVar("T")
_KEY = "rlbench"


@dataclasses.dataclass(frozen=True)
class Field:
    """One hyper-parameter: `kind` "hyper" (a float, may differ per replica) or "static" (shared by a pack).

    A `late` one was declared after runs had been stored: at its default it is no part of what a run is known by.
    """

    name: str
    kind: Literal["hyper", "static"]
    default: Any
    low: float | None = None
    high: float | None = None
    choices: tuple[Any, ...] | None = None
    doc: str = ""
    late: bool = False

    @property
    def is_hyper(self) -> bool:
        """Whether replicas of one pack may hold different values."""
        return self.kind == "hyper"

    def parse(self, value: Any, where: str) -> Any:
        """Return `value` as this field's type; raise RlbenchError if type, choice or range is wrong."""
        if self.is_hyper:
            parsed: Any = _number(value)
            wanted = "a number"
        else:
            parsed, wanted = _as_type_of(self.default, value)
        if parsed is None:
            raise RlbenchError(f"{where}: {self.name} must be {wanted}, not {brief(value)}.")
        if self.choices is not None and parsed not in self.choices:
            options = ", ".join(map(repr, self.choices))
            raise RlbenchError(f"{where}: {self.name} must be one of {options}, not {brief(value)}.")
        for number in parsed if isinstance(parsed, tuple) else (parsed,):
            self._check_range(number, where)
        return parsed

    def parse_text(self, text: str, where: str) -> Any:
        """Return the value in a text, or a list of those that it names: `0.1,0.2`, or `64,64/128,128` of lists."""
        parts = text.split("/" if isinstance(self.default, tuple) else ",")
        values = [self.parse(part, where) for part in parts]
        return values if len(values) > 1 else values[0]

    def _check_range(self, number: Any, where: str) -> None:
        if isinstance(number, float) and math.isnan(number):
            raise RlbenchError(f"{where}: {self.name} must be a number, not NaN.")
        if self.low is not None and number < self.low:
            raise RlbenchError(f"{where}: {self.name} must be at least {self.low:g}, not {brief(number)}.")
        if self.high is not None and number > self.high:
            raise RlbenchError(f"{where}: {self.name} must be at most {self.high:g}, not {brief(number)}.")


def hyper(
    default: float, *, low: float | None = None, high: float | None = None, doc: str = "", late: bool = False
) -> Any:
    """Declare a float that may differ between replicas of one pack; `low` and `high` are allowed values."""
    details = {"kind": "hyper", "low": low, "high": high, "doc": doc, "late": late}
    if _number(default) is None:
        raise TypeError(f"hyper(...) takes one number, not {brief(default)}; values to compare are given to an Arm")
    return dataclasses.field(default=float(default), metadata={_KEY: details})


def static(
    default: T,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[T, ...] | None = None,
    doc: str = "",
    late: bool = False,
) -> T:
    """Declare a value that all replicas of a pack share: whatever changes shapes or the flow of control."""
    details = {"kind": "static", "low": low, "high": high, "choices": choices, "doc": doc, "late": late}
    declared: T = dataclasses.field(default=default, metadata={_KEY: details})
    return declared


def fields_of(cls: type) -> dict[str, Field]:
    """Return the hyper-parameters of an `Algorithm` by name, the base class's first; of a `Peer` those it declares."""
    own = {name for base in cls.__mro__ if getattr(base, "foreign", False) for name in inspect.get_annotations(base)}
    return {
        field.name: Field(name=field.name, default=field.default, **field.metadata[_KEY])
        for field in dataclasses.fields(cls)
        if _KEY in field.metadata and (not getattr(cls, "foreign", False) or field.name in own)
    }


def sweep(settings: Mapping[str, Any], known: Mapping[str, Field], where: str) -> Iterator[dict[str, Any]]:
    """Yield, for each arm that the settings of one stand for, the values of those fields that are listed.

    A list gives several values of a field, and each combination is an arm. A field that is itself a list, such as
    `hidden`, takes a list of lists. Raises RlbenchError for a list that is empty or names a value twice.
    """
    listed: dict[str, list[Any]] = {}
    for name, value in settings.items():
        if name not in known or not isinstance(value, list | tuple):
            continue
        if isinstance(known[name].default, tuple) and not any(isinstance(item, list | tuple) for item in value):
            continue
        if not value:
            raise RlbenchError(f"{where}: {name} is an empty list; give at least one value.")
        listed[name] = [known[name].parse(item, where) for item in value]
        for item in listed[name]:
            if listed[name].count(item) > 1:
                raise RlbenchError(f"{where}: {name} lists {brief(item)} twice.")
    for values in itertools.product(*listed.values()):
        yield dict(zip(listed, values, strict=True))


class Range(NamedTuple):
    """What a search tries of a field: `values` that are listed, or numbers from `low` to `high`.

    These are even on the `scale`: "log", "linear", or of a discount "log of 1 - x".
    """

    field: Field
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    scale: str = "linear"

    def at(self, share: float) -> Any:
        """Return the value so far along the range, from 0 to 1, in three digits."""
        if self.values:
            return self.values[min(int(share * len(self.values)), len(self.values) - 1)]
        if self.scale == "linear":
            value = self.low + share * (self.high - self.low)
        elif self.scale == "log":
            value = self.low * (self.high / self.low) ** share
        else:
            value = 1.0 - (1.0 - self.low) * ((1.0 - self.high) / (1.0 - self.low)) ** share
        short = (
            float(f"{value:.3g}") if value < 0.9 or self.scale in ("log", "linear") else 1 - float(f"{1 - value:.3g}")
        )
        inside = min(max(round(short, 12), self.low), self.high)
        return round(inside) if isinstance(self.field.default, int) else inside

    @property
    def said(self) -> str:
        """The range as it is written, `1e-05..0.1` or `1,4,10`."""
        between = "/" if isinstance(self.field.default, tuple) else ","
        return between.join(map(written, self.values)) or f"{self.low:g}..{self.high:g}"


def ranges(cls: type, texts: Iterable[str], where: str) -> dict[str, Range]:
    """Return what a search tries of the fields of an algorithm, by name.

    Each text is `FIELD`, `FIELD=LOW..HIGH` or `FIELD=VALUE,VALUE,...`. Where there is none for the algorithm these are
    the step size, from 1e-5 to 0.1, and the hyper fields that its class itself declares. A field without a range of its
    own in a text has a tenth to ten times its default (of 1 - x, for a discount). Raises RlbenchError for a text that
    is not understood, and for a range that a field cannot have.
    """
    known, chosen = fields_of(cls), dict[str, Range]()
    for text in texts:
        name, given, limits = text.partition("=")
        if name in known and name not in chosen:
            chosen[name] = _range(known[name], limits if given else None, where)
    if not chosen:
        inherited = {*known} if not cls.__bases__ else {name for base in cls.__bases__ for name in _declared(base)}
        own = [
            name for name, field in known.items() if field.is_hyper and (name in _STEP_SIZES or name not in inherited)
        ]
        usual = [known[name] for name in own if math.isfinite(known[name].default) and known[name].default]
        chosen = {field.name: _range(field, None, where) for field in usual}
    return chosen


_STEP_SIZES = {"lr": "1e-5..0.1", "learning_rate": "1e-5..0.1"}


def _declared(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()


def _range(field: Field, text: str | None, where: str) -> Range:
    said = f"{where}: {field.name}={text}" if text is not None else f"{where}: {field.name}"
    text, bounded = _STEP_SIZES.get(field.name) if text is None else text, field.high == 1.0
    if text is None:
        default = float(field.default) if isinstance(field.default, int | float) else 0.0
        if not field.is_hyper or not math.isfinite(default) or not default:
            raise RlbenchError(f"{said} has no usual range; give one, as in {field.name}=LOW..HIGH or VALUE,VALUE.")
        low, high = sorted((default / 10, default * 10))
        if bounded:
            low, high = max(1 - (1 - default) * 10, 0.0), 1 - (1 - default) / 10
        return Range(field, (), low, high, "log of 1 - x" if bounded and default < 1 else "log")
    if ".." not in text:
        values = field.parse_text(text, where)
        return Range(field, tuple(values) if isinstance(values, list) else (values,))
    ends = [float(field.parse(end, where)) for end in map(_number, text.split("..", 1)) if end is not None]
    if len(ends) < 2 or ends[0] >= ends[1] or isinstance(field.default, bool):
        raise RlbenchError(f"{said} is no range; write two rising numbers, as in lr=1e-5..0.1, or list the values.")
    low, high = ends
    scale = "log of 1 - x" if bounded and high < 1 else "log" if low > 0 and not bounded else "linear"
    return Range(field, (), low, high, scale)


def design(space: Mapping[str, Range], size: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Return at most `size` different settings that fill a space evenly; the first is empty: the defaults.

    The others are the points of a scrambled Sobol sequence (I. M. Sobol, 1967; A. B. Owen, 1998).
    """
    from scipy.stats import qmc  # half a second, which only a search needs

    points = qmc.Sobol(len(space), rng=seed).random_base2(math.ceil(math.log2(4 * size))) if space else []
    settings: list[dict[str, Any]] = [{}]
    for point in points:
        drawn = {name: known.at(float(share)) for (name, known), share in zip(space.items(), point, strict=True)}
        usual = all(value == space[name].field.default for name, value in drawn.items())
        settings += [drawn] if drawn not in settings and not usual else []
    return settings[:size]


FINALISTS = 4  # settings among which a search decides without halving them any more


def rounds(settings: int) -> int:
    """Return how many rounds a search among so many settings takes, in which all but the last halve them."""
    return 1 if settings <= FINALISTS else 1 + rounds(-(-settings // 2))


def written(value: Any) -> str:
    """Return a value as `Field.parse_text` reads it, short: `0.001`, `64,64`, `true`."""
    if isinstance(value, tuple):
        return ",".join(map(written, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


# What other libraries call the fields: Stable-Baselines3, CleanRL, Spinning Up, Tianshou, RLlib.
_ELSEWHERE = {
    "activation": "activation_fn",
    "adam_eps": "eps optimizer_eps",
    "anneal_lr": "lr_schedule linear_decay",
    "backtracks": "line_search_max_iter backtrack_iters",
    "beta": "kl_coef kl_coeff",
    "cg_iterations": "cg_iters cg_max_steps",
    "clip": "clip_coef clip_eps clip_epsilon clip_param clip_range clip_ratio eps_clip epsilon",
    "damping": "cg_damping damping_coeff",
    "delta": "max_kl",
    "entropy_coef": "c2 ent_coef entropy_coeff",
    "epochs": "n_epochs noptepochs num_epochs num_sgd_iter repeat_per_collect train_iters update_epochs",
    "gae_lambda": "gae_lam lam lambda lambda_ lmbda",
    "gamma": "discount discount_factor",
    "hidden": "hidden_layers hidden_size hidden_sizes net_arch policy_kwargs",
    "horizon": "n_steps num_steps nsteps rollout_fragment_length rollout_length steps_per_epoch step_per_collect",
    "kl_target": "d_targ kl_targ",
    "lr": "alpha learning_rate pi_lr step_size",
    "max_grad_norm": "grad_clip max_gradient_norm",
    "minibatches": "n_minibatch nminibatches num_minibatches",
    "normalize_advantage": "adv_norm norm_adv normalize_advantages",
    "normalize_observation": "norm_obs normalize_obs obs_norm",
    "normalize_reward": "norm_reward reward_normalization rew_norm",
    "num_envs": "n_envs nenvs num_env num_workers",
    "orthogonal_init": "ortho_init",
    "shared_trunk": "share_features_extractor vf_share_layers",
    "value_clip": "clip_range_vf clip_vloss vf_clip_param",
    "value_coef": "c1 value_loss_coef vf_coef vf_loss_coeff",
}
_CALLED = {other: name for name, others in _ELSEWHERE.items() for other in others.split()}
_OPTIONS = {
    **dict.fromkeys(("max_steps", "num_timesteps", "steps", "timesteps", "total_steps", "total_timesteps"), "steps"),
    **dict.fromkeys(("num_seeds", "random_state", "seed", "seeds"), "seeds"),
    **dict.fromkeys(("device", "cuda"), "device"),
}
_SIZES = ("batch_size", "mini_batch_size", "minibatch_size", "sgd_minibatch_size")


def hint_at(name: str, known: Mapping[str, Field]) -> str:
    """Return ` It is called 'lr' here.` or the like, for a name that no field has."""
    if name in _SIZES and "minibatches" in known:
        return " Set minibatches, the number of parts of a rollout: horizon x num_envs / batch size."
    if name in _OPTIONS:
        return f" It is no field, but an option of the command: --{_OPTIONS[name]}."
    if _CALLED.get(name) in known:
        return f" It is called {_CALLED[name]!r} here."
    if other := next((other for other in _ELSEWHERE.get(name, "").split() if other in known), None):
        return f" It is called {other!r} here."
    return nearest(name, list(known))


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _as_type_of(default: Any, value: Any) -> tuple[Any, str]:
    """Return (`value` as the type of `default` or None, the type in words)."""
    if isinstance(default, bool):
        words = {"true": True, "false": False}
        return (value if isinstance(value, bool) else words.get(str(value).lower())), "true or false"
    if isinstance(default, int):
        number = _number(value)
        return (int(number) if number is not None and number.is_integer() else None), "a whole number"
    if isinstance(default, float):
        return _number(value), "a number"
    if isinstance(default, tuple):
        parts = value.split(",") if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not parts:
            return None, "a list such as 64,64"
        items = [_as_type_of(default[0], part)[0] for part in parts]
        return (None if None in items else tuple(items)), "a list such as 64,64"
    return (value if isinstance(value, str) else None), "a word"
