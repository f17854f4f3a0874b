"""A suite: a folder of experiments that answer one text, with what is exact and what the text gets wrong.

    SUITE = Suite(
        title="A lecture on trial",
        introduction="What it claims, and what holds.",
        checks=[Exact("min() is pessimistic", pessimistic, id="10")],
        errata=[Erratum("1", "Training stops after 500 steps", ...)],
    )

Such a `suite.py` is optional: without one, a suite is the experiments of a folder. Pure data; `rlbench.study.suites`
reads a folder, `rlbench.analysis.report` reports it, `rlbench.analysis.draw` draws its figures.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Exact:
    """A statement that no run can decide, since it is a matter of calculation.

    statement   the statement in words
    check       computes and returns (whether it holds, a sentence with the numbers)
    id, source  as in `Claim`: its number, and where it is made
    known       what is known of it from elsewhere, with the source
    """

    statement: str
    check: Callable[[], tuple[bool, str]]
    id: str = ""
    source: str = ""
    known: str = ""


@dataclass(frozen=True)
class Erratum:
    """An error of the text.

    number, title  which one, and what it is in a few words
    source         where in the text
    wrong          what is written there, in our words
    right          what would be right, and why
    demonstrate    reproduces the behaviour and returns a sentence with what was measured; None: nothing to measure
    """

    number: str
    title: str
    source: str
    wrong: str
    right: str
    demonstrate: Callable[[], str] | None = None


@dataclass(frozen=True)
class Showpiece:
    """A figure for a paper or a slide: what is drawn, and from which experiment and arms.

    name          of its files
    kind          curves           learning curves per environment
                  dose             a score against the values of a swept `field`
                  stability        a score against multiples of each variant's own hyper-parameter
                  training         a column of the updates over training: median and quartiles of the runs
                  distribution     a column of the updates: quantiles over all updates of each arm
                  scatter          a score against another metric, or against the values of a `field`, one dot per arm
                  best-of          the score of the best of so many settings of an algorithm, by how many are tried
                  scores           the score of every run, a row per arm
                  iqm              interquartile mean and mean of the normalised scores of all environments
                  profile          the share of runs that score more than each normalised score
                  improvement      the probability that a run of each arm beats one of the baseline
                  difference       by how much each arm exceeds the baseline
                  policy-map       what the median policy of each arm does over two variables of the state
                  effective-ratio  min(r A, clip(r) A) / A of PPO's objective; needs no runs
    experiment    the name of a member of the suite; of `stability` and `dose` also several
    arms          labels, in the order in which they are listed; empty: all
    environments  labels; empty: all
    metric        what is drawn: one number per run as in `Claim` ("auc_normalised"), for `training` and `distribution`
                  a column of the updates ("clip_fraction"); empty: what is usual for the kind
    against       what is on the other axis: of `scatter` a metric, the mean clip fraction if not given; of `curves` the
                  environment "steps", if not given, "gradient_steps" or "seconds"
    mark          a number to mark on the axis of the field or of the quantity
    band          a range to shade there; of `effective-ratio` the clip range, (0.8, 1.2) if not given
    said          what the mark or the band is, in a few words
    columns       panels side by side; 0: as many as there is room for
    title         what it shows, in a few words
    caption       sentences that open its caption
    labels        what arms, variants or environments are called in the figure
    relative_to   of `stability`: the value that counts as 1, by field or by line; else that of an arm which leaves the
                  field as it is, else the best one of these runs
    field         the swept field, or several; empty: every field that is swept; of `policy-map` the variables
    """

    name: str
    kind: str
    experiment: str | Sequence[str] = ()
    arms: Sequence[str] = ()
    environments: Sequence[str] = ()
    metric: str = ""
    against: str = ""
    mark: float | None = None
    band: tuple[float, float] | None = None
    said: str = ""
    columns: int = 0
    title: str = ""
    caption: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    relative_to: Mapping[str, float] = field(default_factory=dict)
    field: str | Sequence[str] = ()  # the last one: below it, its name hides that of dataclasses

    @property
    def experiments(self) -> tuple[str, ...]:
        """The names of the experiments that it is drawn from."""
        return (self.experiment,) if isinstance(self.experiment, str) else tuple(self.experiment)

    @property
    def swept(self) -> tuple[str, ...]:
        """The names of the swept fields."""
        return (self.field,) if isinstance(self.field, str) else tuple(self.field)


@dataclass(frozen=True)
class Suite:
    """What belongs to a folder of experiments beside them.

    title, introduction  of the report
    checks, errata       what is exact, and what is wrong in the text
    remarks              what was noticed after the runs, by the id of a claim: shown as such, no part of any verdict
    figures              what `rlbench figures` draws; none: the usual figures of every experiment
    quick, quick_seeds   the experiments that `--quick` runs, by name, and how many seeds of each; none: all of them
    take_home            ids of at most eight claims that the report opens with; none: it opens with the counts alone
    again                other suites that try claims of the same ids, as `{"on MuJoCo": "lecture_mujoco"}`: verdicts
                         of their reports, where there are any, stand beside those of this one under such a heading
    """

    title: str = ""
    introduction: str = ""
    checks: Sequence[Exact] = ()
    errata: Sequence[Erratum] = ()
    remarks: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[Showpiece] = ()
    quick: Sequence[str] = ()
    quick_seeds: int = 5
    take_home: Sequence[str] = ()
    again: Mapping[str, str] = field(default_factory=dict)
