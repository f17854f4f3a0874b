"""What to run: an experiment is a short piece of data, checked where it is written.

    EXPERIMENT = Experiment(
        name="clip-range",
        question="Does the clip range matter?",
        arms=["reinforce", Arm("ppo-clip", clip=[0.1, 0.2, 0.4])],
        environments=["CartPole-v1", Environment("Pendulum-v1", {"g": 5.0})],
        seeds=10,
        steps=100_000,
    )

Constructing checks the shape of the data and imports no algorithm; `rlbench.study.plan.resolve` checks names,
fields and budgets against the algorithms.

A `Measurement` is an experiment whose numbers a function computes, where nothing has to be trained for them:

    def measure(environment: Environment, seed: int) -> dict[str, dict[str, float | list[float]]]:
        return {f"lambda={value:g}": {"variance": variance(value, seed)} for value in (0, 1)}

    EXPERIMENT = Measurement(
        name="gae-variance",
        question="Does the variance of the advantage grow with lambda?",
        measure=measure,
        arms=["lambda=0", "lambda=1"],
        environments=["CartPole-v1"],
        seeds=20,
        claims=[Claim("It grows", ["lambda=1", "lambda=0"], "greater", "variance:mean")],
    )

Its numbers go the way of runs: through the store, the tables and the claims. The unit is the seed.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from types import FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from rlbench.claims import Claim, Published
from rlbench.errors import RlbenchError, brief, nearest
from rlbench.files import LONGEST_LABEL, LONGEST_NAME, is_label, is_name, is_text
from rlbench.records import MEASURED, PER_RUN, RECORDED, Environment, Evaluation
from rlbench.store.entry import canonical
from rlbench.store.runs import STORE
from rlbench.training import EPISODES

if TYPE_CHECKING:
    from rlbench.algorithm import Algorithm


MOST_SEEDS = 100_000
_LARGEST = 2**63  # the tables hold 64 bits
_ENTRIES = (
    *("name", "question", "measure", "arms", "environments", "seeds", "steps", "evaluate_every", "evaluation_episodes"),
    *("baseline", "claims", "design", "published", "search"),
)

Measure = Callable[[Environment, int], Mapping[str, Mapping[str, float | Sequence[float]]]]
"""Returns the columns of every arm: a number each, or a sequence of them; NaN where there is none."""


@dataclass(frozen=True, init=False)
class Arm:
    """One algorithm, by name or class, with settings: `Arm("ppo-clip", clip=0.1)`.

    A list for a field stands for one arm per value, labelled `ppo-clip clip=0.1` and so on, and a mapping for its
    values by environment, `lr={"CartPole-v1": 0.001}`, with the default on all others. `label` is the name in tables
    and figures; without one, the algorithm's name.
    """

    algorithm: str | type[Algorithm]
    label: str | None
    settings: Mapping[str, Any]

    def __init__(self, algorithm: str | type[Algorithm], label: str | None = None, **settings: Any) -> None:
        if not algorithm or not isinstance(algorithm, str | type):
            raise RlbenchError(f"An arm needs an algorithm's name or class, not {brief(algorithm)}.")
        object.__setattr__(self, "algorithm", algorithm)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "settings", dict(settings))
        try:
            canonical(settings)
        except RecursionError:
            raise RlbenchError(f"Arm {brief(self.name)}: its settings are nested too deeply.") from None
        if label is not None and not is_label(label):
            raise RlbenchError(
                f"Arm {brief(self.name)}: label must be a word or a line of up to {LONGEST_LABEL} letters, not "
                f"{brief(label)}."
            )

    @property
    def name(self) -> str:
        """The algorithm's name."""
        if isinstance(self.algorithm, str):
            return self.algorithm
        return str(getattr(self.algorithm, "name", "") or self.algorithm.__name__)

    def settings_on(self, environment: Environment) -> dict[str, Any]:
        """Return the settings in an environment."""
        here = {
            name: value.get(environment.label, value.get(environment.id)) if isinstance(value, Mapping) else value
            for name, value in self.settings.items()
        }
        return {name: value for name, value in here.items() if value is not None}

    def document(self) -> dict[str, Any]:
        """Return the arm as JSON; a class is written as its name."""
        return {"algorithm": self.name, "label": self.label, "settings": dict(self.settings)}


@dataclass(frozen=True, init=False)
class Investigation:
    """What an `Experiment` and a `Measurement` have in common.

    `trains`: whether its arms are algorithms, with fields and budgets.
    """

    kind: ClassVar[str]
    trains: ClassVar[bool]

    name: str
    arms: tuple[Any, ...]
    environments: tuple[Environment, ...]
    seeds: tuple[int, ...]
    claims: tuple[Claim, ...]
    question: str
    design: str

    @property
    def evaluation(self) -> Evaluation | None:
        """How policies are evaluated during training; None where they are not."""
        return None

    @property
    def where(self) -> str:
        """How messages refer to it."""
        return f"{self.kind} {brief(self.name)}"

    def budget(self, environment: Environment) -> int:
        """Return the environment steps of every run in `environment`; 1 where nothing is trained."""
        return 1

    def changed(self, **checked: Any) -> Self:
        """Return the same with other fields, which were checked."""
        other = copy.copy(self)
        other._set(**checked)
        return other

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        entries = {
            "name": self.name,
            "question": self.question,
            "environments": [environment.document() for environment in self.environments],
            "seeds": list(self.seeds),
            "claims": [claim.document() for claim in self.claims],
            "design": self.design,
            **self._entries(),
        }
        return {name: entries[name] for name in _ENTRIES if name in entries}

    def _entries(self) -> dict[str, Any]:
        raise NotImplementedError

    def _set_common(
        self, where: str, name: str, environments: Any, seeds: Any, question: Any, claims: Any, design: Any
    ) -> None:
        self._set(
            name=name,
            environments=as_environments(where, environments),
            seeds=as_seeds(where, seeds),
            question=as_text(where, "question", question),
            claims=as_claims(where, claims),
            design=as_text(where, "design", design),
        )

    def _set(self, **checked: Any) -> None:
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True, init=False)
class Experiment(Investigation):
    """Arms x environments x seeds, with equal budgets of environment steps.

    name          the folder of the report in the results folder
    arms          `Arm`s, or algorithms by name or class
    environments  `Environment`s, or Gymnasium ids
    seeds         a list, or a number n that stands for 0 to n - 1
    steps         environment steps of every run: one number, or one per environment id
    baseline      the label of the arm that the others are compared with; the first arm if not given
    claims        `Claim`s that the runs shall decide; their hash is kept before the first run starts
    question      what the experiment is to answer, in one sentence
    design        how, in two sentences, for readers who do not know its arms
    evaluate_every       environment steps between two evaluations of a policy that does not learn meanwhile, on
                         environments of its own (`rlbench.training.evaluation`); 0: none
    evaluation_episodes  of each evaluation, with the most likely actions and as many with sampled ones
    published            a `Published` with what is known of its arms, which the report shows beside what comes out
    search               the name of the experiment in which settings of its arms were searched for, of which the report
                         says how it went
    """

    kind = "Experiment"
    trains = True

    arms: tuple[Arm, ...]
    steps: int | Mapping[str, int]
    baseline: str
    evaluate_every: int
    evaluation_episodes: int
    published: Published | None
    search: str

    def __init__(
        self,
        name: str,
        arms: Sequence[Arm | str | type[Algorithm]],
        environments: Sequence[Environment | str],
        seeds: int | Sequence[int] = 10,
        steps: int | Mapping[str, int] = 100_000,
        baseline: str = "",
        question: str = "",
        claims: Sequence[Claim] = (),
        design: str = "",
        evaluate_every: int = 0,
        evaluation_episodes: int = EPISODES,
        published: Published | None = None,
        search: str = "",
    ) -> None:
        where = f"Experiment {as_name(name)!r}"
        listed = tuple(arm if isinstance(arm, Arm) else Arm(arm) for arm in as_list(where, "arms", arms))
        self._set_common(where, name, environments, seeds, question, claims, design)
        for arm in listed:
            for setting, values in arm.settings.items():
                if isinstance(values, Mapping):
                    _check_places(f"{where}, arm {arm.label or arm.name!r}: {setting}", values, self.environments)
        steps = as_steps(where, steps, self.environments)
        if not isinstance(published, Published | None):
            raise RlbenchError(f"{where}: published must be a Published(source, scores), not {brief(published)}.")
        self._set(arms=listed, baseline=as_text(where, "baseline", baseline), steps=steps, published=published)
        self._set(
            search=as_name(search) if search else "",
            evaluate_every=as_every(where, evaluate_every),
            evaluation_episodes=as_positive(where, "evaluation_episodes", evaluation_episodes),
        )
        check_metrics(where, self.claims, evaluated=self.evaluation is not None)

    @property
    def evaluation(self) -> Evaluation | None:
        """How policies are evaluated during training; None where they are not."""
        return Evaluation(self.evaluate_every, self.evaluation_episodes) if self.evaluate_every else None

    def budget(self, environment: Environment) -> int:
        """Return the environment steps of every run in `environment`."""
        if isinstance(self.steps, int):
            return self.steps
        return self.steps[environment.label if environment.label in self.steps else environment.id]

    def _entries(self) -> dict[str, Any]:
        steps = self.steps if isinstance(self.steps, int) else dict(self.steps)
        document = {"arms": [arm.document() for arm in self.arms], "steps": steps, "baseline": self.baseline}
        if self.evaluation:
            document |= {"evaluate_every": self.evaluation.every, "evaluation_episodes": self.evaluation.episodes}
        document |= {"published": self.published.document()} if self.published else {}
        return document | ({"search": self.search} if self.search else {})


@dataclass(frozen=True, init=False)
class Measurement(Investigation):
    """Arms x environments x seeds, as an `Experiment` has them, with numbers that a function computes.

    measure       gets an environment and a seed, and returns for every arm its columns by name. It runs in a worker
                  process and must depend on nothing but its arguments and its source: the same call gives the same
                  numbers. A plain function: what a closure holds would be no part of what identifies the numbers
    arms          labels; all arms of an environment and a seed are measured in one call
    name, environments, seeds, claims, question, design  as in `Experiment`

    A sequence becomes as many rows of the table `updates`, numbered from 1 by `step`; the metric `variance:mean` is the
    mean over them.
    """

    kind = "Measurement"
    trains = False

    measure: Measure
    arms: tuple[str, ...]

    def __init__(
        self,
        name: str,
        measure: Measure,
        arms: Sequence[str],
        environments: Sequence[Environment | str],
        seeds: int | Sequence[int] = 10,
        claims: Sequence[Claim] = (),
        question: str = "",
        design: str = "",
    ) -> None:
        where = f"Measurement {as_name(name)!r}"
        self._set(measure=as_function(where, measure), arms=as_labels(where, arms))
        self._set_common(where, name, environments, seeds, question, claims, design)
        check_claims(where, self.claims, self.arms, self.environments)
        for claim in self.claims:
            if ":" not in claim.metric and claim.metric != "seconds":
                raise RlbenchError(
                    f"{where}, {claim.where}: nothing is trained here, so there is no {brief(claim.metric)}; "
                    "name a column with a reduction, such as variance:mean."
                )

    def _entries(self) -> dict[str, Any]:
        arms = [{"label": label, "algorithm": MEASURED, "settings": {}, "fields": {}} for label in self.arms]
        steps = {environment.label: 1 for environment in self.environments}
        return {"measure": self.measure.__qualname__, "arms": arms, "steps": steps, "baseline": ""}


def as_name(name: Any) -> str:
    """Return the name of an experiment, which is also that of a folder."""
    if not is_name(name) or name == STORE:
        raise RlbenchError(
            f"An experiment's name is also its folder: up to {LONGEST_NAME} letters, digits, '.', '_' and '-', not "
            f"{brief(name)}."
        )
    return str(name)


def as_text(where: str, key: str, value: Any) -> str:
    """Return a text, which may be empty or None."""
    if value is None or (isinstance(value, str) and is_text(value)):
        return value or ""
    raise RlbenchError(f"{where}: {key} must be a text, not {brief(value)}.")


def as_list(where: str, key: str, value: Any) -> list[Any]:
    """Return a list of at least one item."""
    if isinstance(value, str | Mapping | Arm | Environment | type) or not isinstance(value, Iterable):
        raise RlbenchError(f"{where}: {key} must be a list, not {brief(value)}.")
    items = list(value)
    if not items:
        raise RlbenchError(f"{where}: {key} is empty; it needs at least one.")
    return items


def as_environments(where: str, items: Any) -> tuple[Environment, ...]:
    """Return different environments, given as such or by their ids."""
    environments = tuple(_as_environment(where, item) for item in as_list(where, "environments", items))
    if repeated := repeats([environment.label for environment in environments]):
        raise RlbenchError(f"{where}: environment {brief(repeated[0])} is listed twice.")
    if repeats([json.dumps(canonical(env.document()), sort_keys=True) for env in environments]):
        raise RlbenchError(f"{where}: two environments differ only in how their options are written.")
    return environments


def _as_environment(where: str, item: Any) -> Environment:
    env = Environment(item) if isinstance(item, str) else item
    if not isinstance(env, Environment) or not isinstance(env.id, str) or not env.id:
        raise RlbenchError(f"{where}: {brief(env)} is not an environment; give a Gymnasium id.")
    if not isinstance(env.options, Mapping) or not all(isinstance(key, str) for key in env.options):
        raise RlbenchError(f"{where}: the options of {env.id} must be a mapping of names, not {brief(env.options)}.")
    try:
        json.dumps(canonical(env.options))
    except (TypeError, ValueError, RecursionError) as problem:
        raise RlbenchError(f"{where}: the options of {env.id} must be JSON values ({problem}).") from problem
    try:
        json.dumps(canonical(env.document()))
        if not all(isinstance(name, str) and all(map(str.isidentifier, given)) for name, given in env.wraps):
            raise TypeError("a wrapper or an argument is no name")
    except (TypeError, ValueError, IndexError, RecursionError) as problem:
        raise RlbenchError(
            f"{where}: the wrappers of {env.id} must be a list of names, or of pairs of a name and arguments, as "
            f'[("RescaleAction", {{"min_action": -1, "max_action": 1}})], not {brief(env.wrappers)}.'
        ) from problem
    if not is_label(env.label):
        raise RlbenchError(
            f"{where}: an environment and its options must be a line of up to {LONGEST_LABEL} letters, "
            f"and {brief(env.label)} is not one."
        )
    return replace(env)  # each experiment has its own, since each carries what was registered when that was read


def as_seeds(where: str, seeds: Any) -> tuple[int, ...]:
    """Return different seeds, given as a list or by their number."""
    if is_whole(seeds):
        if seeds < 1:
            raise RlbenchError(f"{where}: seeds must be at least 1, not {seeds}.")
        seeds = range(int(seeds))
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise RlbenchError(f"{where}: seeds must be a whole number or a list of them, not {brief(seeds)}.")
    listed = as_list(where, "seeds", itertools.islice(seeds, MOST_SEEDS + 1))
    if len(listed) > MOST_SEEDS:
        raise RlbenchError(
            f"{where}: seeds must be at most {MOST_SEEDS}, which would be more runs than anybody trains."
        )
    for seed in listed:
        if not is_whole(seed) or not 0 <= seed < _LARGEST:
            raise RlbenchError(f"{where}: a seed must be a whole number from 0 to 2**63 - 1, not {brief(seed)}.")
    if repeated := repeats(listed):
        raise RlbenchError(f"{where}: seed {repeated[0]} is listed twice; every run needs its own seed.")
    return tuple(int(seed) for seed in listed)


def as_steps(where: str, steps: Any, environments: tuple[Environment, ...]) -> int | dict[str, int]:
    """Return environment steps: one number, or one per environment by its label or id."""
    if not isinstance(steps, Mapping):
        return as_positive(where, "steps", steps)
    _check_places(f"{where}: steps", steps, environments)
    for environment in environments:
        if environment.id not in steps and environment.label not in steps:
            raise RlbenchError(f"{where}: steps has no entry for {environment.label}.")
    return {name: as_positive(where, f"steps of {name}", value) for name, value in steps.items()}


def _check_places(where: str, values: Mapping[str, Any], environments: tuple[Environment, ...]) -> None:
    """Refuse values by environment, label or id, that name another."""
    names = [name for environment in environments for name in dict.fromkeys((environment.label, environment.id))]
    for name in values:
        if name not in names:
            raise RlbenchError(f"{where} names {brief(name)}, which is not an environment here.{nearest(name, names)}")


def as_every(where: str, every: Any) -> int:
    """Return the steps between two evaluations, 0 for none."""
    return 0 if is_whole(every) and every == 0 else as_positive(where, "evaluate_every", every)


def as_claims(where: str, claims: Any) -> tuple[Claim, ...]:
    """Return claims with statements of their own."""
    if isinstance(claims, str | Mapping | Claim) or not isinstance(claims, Iterable):
        raise RlbenchError(f"{where}: claims must be a list, not {brief(claims)}.")
    listed = tuple(claims)
    for claim in listed:
        if not isinstance(claim, Claim):
            raise RlbenchError(f"{where}: {brief(claim)} is not a Claim.")
    if repeated := repeats([claim.statement for claim in listed]):
        raise RlbenchError(f"{where}: two claims say {brief(repeated[0])}; every claim needs its own statement.")
    return listed


def check_claims(where: str, claims: Sequence[Claim], arms: Sequence[str], environments: Sequence[Environment]) -> None:
    """Claims name arms and environments by their labels; wrong ones are said before anything is trained."""
    known = {"arm": list(arms), "environment": [environment.label for environment in environments]}
    for claim in claims:
        for what, names in (("arm", claim.arms), ("environment", claim.environments)):
            for name in names:
                if name not in known[what]:
                    raise RlbenchError(
                        f"{where}, {claim.where}: there is no {what} {brief(name)}.{nearest(name, known[what])}"
                    )


def check_metrics(where: str, claims: Sequence[Claim], *, evaluated: bool) -> None:
    """Refuse metrics that no training has, or only one with evaluations, before anything is trained for them."""
    for claim in claims:
        name, _, reduction = claim.metric.partition(":")
        if name.startswith("eval_") and not evaluated:
            raise RlbenchError(
                f"{where}, {claim.where}: {brief(claim.metric)} is known of policies that are evaluated; set "
                "evaluate_every to the environment steps between two evaluations."
            )
        known = RECORDED if reduction else PER_RUN
        if name in known or (reduction and name.startswith("field.")):
            continue
        hint = nearest(name, known)
        if name in RECORDED:
            hint = f" It is recorded many times in a run: say which number is meant, as in {name}:mean."
        elif name in PER_RUN:
            hint = f" It is one number per run: {name} alone."
        raise RlbenchError(f"{where}, {claim.where}: there is no metric {brief(claim.metric)}.{hint}")


def as_function(where: str, measure: Any) -> Measure:
    """Return a function that holds no variables."""
    if not isinstance(measure, FunctionType):
        raise RlbenchError(f"{where}: measure must be a function, not {brief(measure)}.")
    if measure.__closure__:
        held = ", ".join(measure.__code__.co_freevars)
        raise RlbenchError(
            f"{where}: measure must be a function of a module and hold no variables of a function around it ({held})."
        )
    return measure


def as_labels(where: str, arms: Any) -> tuple[str, ...]:
    """Return different labels."""
    labels = as_list(where, "arms", arms)
    for label in labels:
        if not is_label(label):
            raise RlbenchError(f"{where}: arms must be labels, and {brief(label)} is not one.")
    if repeated := repeats(labels):
        raise RlbenchError(f"{where}: two arms are called {brief(repeated[0])}.")
    return tuple(labels)


def as_positive(where: str, what: str, value: Any) -> int:
    """Return a whole number of at least 1."""
    if isinstance(value, float) and value.is_integer():  # 1e5 is how people write budgets
        value = int(value)
    if not is_whole(value) or value < 1:
        raise RlbenchError(f"{where}: {what} must be a whole number of at least 1, not {brief(value)}.")
    if value >= _LARGEST:
        raise RlbenchError(f"{where}: {what} must be less than 2**63, not {brief(value)}.")
    return int(value)


def is_whole(value: Any) -> bool:
    """Return whether `value` is an integer, numpy's included; True and False are not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def repeats(items: Sequence[Any]) -> list[Any]:
    """Return the items that occur more than once, each once."""
    with contextlib.suppress(TypeError):  # counting each of many would take its time
        if len(set(items)) == len(items):
            return []
    return list(dict.fromkeys(item for item in items if items.count(item) > 1))
