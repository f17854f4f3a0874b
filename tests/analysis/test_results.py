"""The object a user gets: tables, comparisons and figures from one place."""

from __future__ import annotations

import matplotlib
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlbench.analysis.scores.scores import ALL, Reference
from rlbench.errors import RlbenchError
from rlbench.results import Results
from tests.analysis.synthetic import ARMS, ENVIRONMENTS, experiment_document, make_tables, troubled_outcomes


@pytest.fixture(scope="module")
def results():
    return Results(experiment_document(), make_tables(steps=20_000, outcomes=troubled_outcomes()))


def test_tables_are_tidy_and_computed_once(results):
    assert len(results.runs) == len(results.scores) == 100
    assert {"arm", "environment", "seed", "step", "return"} <= set(results.curves.columns)
    assert results.curves is results.curves
    assert results.scores is results.scores
    assert set(results.episodes["cell"]) <= set(results.runs["cell"])


def test_order_is_the_experiments_order(results):
    assert results.arms == list(ARMS)
    assert results.environments == list(ENVIRONMENTS)
    assert list(results.styles) == list(ARMS)


def test_order_names_what_was_planned_even_if_the_document_does_not():
    tables = make_tables(["ppo-clip", "trpo"], ["CartPole-v1"], seeds=2, steps=8_000)
    bare = Results({}, tables)
    assert bare.arms == ["ppo-clip", "trpo"]
    assert bare.environments == ["CartPole-v1"]
    assert bare.baseline is None
    assert bare.compare() == []
    options = {"environments": [{"id": "Pendulum-v1", "options": {"g": 5.0}}, {"id": "CartPole-v1", "options": {}}]}
    assert Results(options, tables).environments == ["CartPole-v1"]


def test_compare_one_arm_or_all(results):
    one = results.compare("ppo-clip")
    assert [comparison.environment for comparison in one] == ["Acrobot-v1", "CartPole-v1", ALL]
    assert {comparison.baseline for comparison in one} == {"reinforce"}
    assert {comparison.arm for comparison in results.comparisons} == set(ARMS) - {"reinforce"}
    other = results.compare("ppo-clip", "trpo", metric="final")
    assert {(comparison.baseline, comparison.metric) for comparison in other} == {("trpo", "final")}


def test_compare_without_a_baseline_says_what_is_missing():
    tables = make_tables(["ppo-clip", "trpo"], ["CartPole-v1"], seeds=2, steps=8_000)
    with pytest.raises(RlbenchError, match="names no baseline"):
        Results({}, tables).compare("ppo-clip")


@pytest.mark.parametrize(
    "name",
    [
        "plot_learning_curves",
        "plot_scores",
        "plot_aggregate",
        "plot_profile",
        "plot_improvement",
        "plot_difference",
        "plot_diagnostics",
    ],
)
def test_plots_take_and_return_axes(results, name):
    import matplotlib.pyplot as plt

    ax = Figure().subplots()
    assert getattr(results, name)(ax) is ax
    assert getattr(results, name)(ax=Figure().subplots()).figure is not ax.figure
    with matplotlib.rc_context({"figure.max_open_warning": 0}):
        own = getattr(results, name)()
    assert isinstance(own, Axes)
    assert plt.get_fignums() == [own.figure.number]
    plt.close(own.figure)


def test_plots_can_be_asked_for_one_environment(results):
    for name in ("plot_learning_curves", "plot_scores", "plot_improvement", "plot_difference", "plot_diagnostics"):
        ax = getattr(results, name)(Figure().subplots(), environment="Acrobot-v1")
        assert ax.get_title(loc="left") == "Acrobot-v1", name
    with pytest.raises(RlbenchError, match="Did you mean 'Acrobot-v1'"):
        results.plot_learning_curves(Figure().subplots(), environment="Akrobot-v1")


def test_an_arm_has_one_colour_in_every_figure(results):
    color = results.styles["trpo"].color
    for ax in (
        results.plot_learning_curves(Figure().subplots()),
        results.plot_profile(Figure().subplots()),
        results.plot_diagnostics(Figure().subplots()),
    ):
        assert {line.get_color() for line in ax.lines if line.get_label() == "trpo"} == {color}
    for name in ("plot_aggregate", "plot_improvement", "plot_difference", "plot_scores"):
        assert color in {line.get_color() for line in getattr(results, name)(Figure().subplots()).lines}, name


def test_own_references_give_a_normalised_scale():
    tables = make_tables(["ppo-clip", "reinforce"], ["Mine-v0"], seeds=2, steps=8_000)
    own = Results({}, tables, references={"Mine-v0": Reference(0.0, 100.0)})
    used = own.scores
    assert (used["auc_normalised"] == used["auc"] / 100.0).all()
    assert Results({}, tables).scores["auc_normalised"].isna().all()


def test_representations_say_what_is_inside_and_escape_it():
    name = "<script>alert(1)</script>"
    tables = make_tables([name, "reinforce"], ["CartPole-v1"], seeds=2, steps=8_000)
    results = Results(experiment_document([name, "reinforce"], ["CartPole-v1"], seeds=2), tables)
    assert "2 arms x 1 environments, 4 runs (4 finished)" in repr(results)
    page = results._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
