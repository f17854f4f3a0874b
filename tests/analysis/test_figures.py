"""Every figure returns its Axes, says its run counts, keeps an arm's look, and survives poor data."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from rlbench.analysis import draw
from rlbench.analysis.draw import axes, frame
from rlbench.analysis.draw.frame import run_counts
from rlbench.analysis.draw.style import FIXED, arm_styles, ordered_styles, styled, styles_of
from rlbench.analysis.report.figures import Picture, render
from rlbench.analysis.scores.metrics import steps_to_threshold
from rlbench.errors import RlbenchError
from rlbench.results import Results, read_results
from tests.analysis.synthetic import ARMS, ENVIRONMENTS, experiment_document, make_tables, troubled_outcomes


def data(arms=ARMS, environments=ENVIRONMENTS, baseline="reinforce", seeds=10, steps=40_000, outcomes=None):
    """Return the results of a made-up experiment."""
    document = experiment_document(arms, environments, baseline=baseline, seeds=seeds, steps=steps)
    return Results(document, make_tables(arms, environments, seeds, steps, outcomes))


@pytest.fixture(scope="module")
def troubled():
    return data(steps=20_000, outcomes=troubled_outcomes())


def every_figure(results, **look):
    first = results.environments[0]
    return {
        "curves": lambda ax, **more: draw.plot_learning_curves(results, first, ax=ax, **look, **more),
        "reached": lambda ax, **more: draw.plot_reached(results, first, ax=ax, **look, **more),
        "curves all": lambda ax, **more: draw.plot_learning_curves(results, ax=ax, **look, **more),
        "scores": lambda ax, **more: draw.plot_scores(results, first, "final", ax=ax, **look, **more),
        "scores all": lambda ax, **more: draw.plot_scores(results, metric="auc", ax=ax, **look, **more),
        "aggregate": lambda ax, **more: draw.plot_aggregate(results, ax=ax, **look, **more),
        "profile": lambda ax, **more: draw.plot_profile(results, ax=ax, **look, **more),
        "improvement": lambda ax, **more: draw.plot_improvement(results, ax=ax, **look, **more),
        "difference": lambda ax, **more: draw.plot_difference(results, first, ax=ax, **look, **more),
        "diagnostics": lambda ax, **more: draw.plot_diagnostics(results, ax=ax, **look, **more),
    }


def new_axes():
    return Figure(layout="constrained").subplots()


def footer(ax):
    (text,) = [one.get_text() for one in ax.texts if one.get_gid() == "footer"]
    return " ".join(text.split())


def texts(ax):
    return " ".join(one.get_text() for one in ax.texts)


def test_every_figure_draws_on_the_axes_it_is_given_and_says_all_four_counts(troubled):
    for name, plot in every_figure(troubled).items():
        ax = new_axes()
        assert plot(ax) is ax, name
        for word in ("planned", "finished", "failed", "used"):
            assert word in footer(ax), name
        ax.figure.draw_without_rendering()


def test_without_axes_every_figure_makes_its_own(troubled):
    import matplotlib.pyplot as plt

    before = dict(matplotlib.rcParams)
    for name, plot in every_figure(troubled).items():
        ax = plot(None)
        assert isinstance(ax, Axes), name
        plt.close(ax.figure)
    assert not plt.get_fignums()
    assert dict(matplotlib.rcParams) == before


def words(ax):
    """Return all texts of axes, their legend and their rows."""
    legend = ax.get_legend()
    listed = [text.get_text() for text in legend.get_texts()] if legend else []
    return " ".join([ax.get_title("left"), texts(ax), *listed, *(label.get_text() for label in ax.get_yticklabels())])


def test_every_figure_takes_some_arms_other_labels_colours_and_a_title(troubled):
    look = {"labels": {"ppo-clip": "Clip"}, "colors": {"ppo-clip": "#123456"}, "title": "Mine"}
    for name, plot in every_figure(troubled, arms=["ppo-clip", "reinforce", "trpo"], **look).items():
        ax = plot(new_axes())
        assert ax.get_title("left") == "Mine", name
        assert "Clip" in words(ax), name
        assert not any(arm in words(ax) for arm in ("ppo-clip", "ppo-penalty", "ppo-adaptive")), name
        drawn = {to_hex(line.get_color()) for line in ax.lines} | {
            to_hex(color) for dots in ax.collections for color in dots.get_facecolor()
        }
        assert "#123456" in drawn, name
        assert FIXED["ppo-penalty"].color.lower() not in drawn, name


def test_what_is_shown_is_not_compared_anew(troubled):
    whole = {one.arm: one for one in troubled.comparisons if one.environment == "CartPole-v1"}
    shown = troubled.showing(["trpo", "reinforce"], {"reinforce": "VPG"})
    (one,) = [one for one in shown.comparisons if one.environment == "CartPole-v1"]
    assert (one.arm, one.baseline) == ("trpo", "VPG")
    assert (one.p_adjusted, one.difference) == (whole["trpo"].p_adjusted, whole["trpo"].difference)
    assert shown.arms == ["trpo", "VPG"]
    assert set(shown.runs["arm"]) == set(shown.scores["arm"]) == {"trpo", "VPG"}


def test_two_axes_beside_each_other_keep_their_legends_and_notes_to_themselves(troubled):
    for name, plot in every_figure(troubled).items():
        left, right = Figure(figsize=(9, 3.5)).subplots(1, 2)
        plot(left)
        left.figure.draw_without_rendering()
        assert not [text for text in left.texts if text.get_gid() == "footer"], name
        if left.get_legend():
            assert left.get_legend().get_window_extent().x1 < right.get_window_extent().x0, name
        plot(right)
    roomy = plot(new_axes(), legend=False, note=False)
    assert roomy.get_legend() is None
    assert not [text for text in roomy.texts if text.get_gid() == "footer"]


@pytest.mark.parametrize(
    ("look", "message"),
    [
        ({"arms": ["ppo-clib"]}, "There is no arm 'ppo-clib' in these results. Did you mean 'ppo-clip'?"),
        ({"labels": {"x": "y"}}, "There is no arm 'x' in these results"),
        ({"labels": {"trpo": "reinforce"}}, "Two arms cannot have the same label"),
        ({"arms": ["trpo"], "labels": {"trpo": "reinforce"}}, "Two arms cannot have the same label"),
        ({"arms": []}, "There is nothing to show without an arm."),
        ({"colors": {"trpo": "no colour"}}, "'no colour' is no colour of matplotlib"),
    ],
)
def test_a_look_that_cannot_be_is_one_sentence(troubled, look, message):
    with pytest.raises(RlbenchError, match=re.escape(message)):
        draw.plot_profile(troubled, ax=new_axes(), **look)


def test_run_counts_count_diverged_as_failed_and_missing_as_planned(troubled):
    text = run_counts(troubled.scores, troubled.arms)
    assert text.startswith("Runs: 100 planned, 96 finished, 3 failed, 96 used, 1 missing.")
    assert "reinforce 19 of 20, trpo 19 of 20, ppo-adaptive 18 of 20; every other arm all." in text
    only = run_counts(troubled.scores, ["ppo-clip", "ppo-penalty"], "CartPole-v1")
    assert only == "Runs: 20 planned, 20 finished, 0 failed, 20 used; 10 per arm."
    twice = run_counts(troubled.scores, ["ppo-clip", "ppo-clip"], "CartPole-v1")  # an arm of two experiments
    assert twice == "Runs: 10 planned, 10 finished, 0 failed, 10 used; 10 per arm."


def test_runs_that_stopped_early_are_seen_but_not_averaged(troubled):
    ax = draw.plot_learning_curves(troubled, "CartPole-v1", ax=new_axes())
    (cross,) = [line for line in ax.lines if line.get_gid() == "stopped"]
    assert to_hex(cross.get_color()) == FIXED["ppo-adaptive"].color
    assert any("stopped early" in text.get_text() for text in ax.get_legend().get_texts())
    curves = troubled.curves
    own = curves[(curves["arm"] == "ppo-adaptive") & (curves["environment"] == "CartPole-v1") & curves["used"]]
    (line,) = [line for line in ax.lines if line.get_label() == "ppo-adaptive"]
    np.testing.assert_allclose(line.get_ydata(), own.groupby("step")["return"].mean())


def test_every_run_is_a_dot_at_its_score(troubled):
    ax = draw.plot_scores(troubled, "Acrobot-v1", "auc", ax=new_axes())
    drawn = np.concatenate([np.asarray(dots.get_offsets())[:, 0] for dots in ax.collections])
    planned = troubled.scores[troubled.scores["environment"] == "Acrobot-v1"]
    np.testing.assert_allclose(np.sort(drawn), np.sort(planned["auc"].dropna()))
    again = draw.plot_scores(troubled, "Acrobot-v1", "auc", ax=new_axes())
    for one, other in zip(ax.collections, again.collections, strict=True):
        np.testing.assert_array_equal(one.get_offsets(), other.get_offsets())


def test_improvement_shows_the_numbers_of_the_comparison(troubled):
    ax = draw.plot_improvement(troubled, "CartPole-v1", ax=new_axes())
    chosen = [one for one in troubled.comparisons if one.environment == "CartPole-v1"]
    points = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert points == [one.improvement.point for one in chosen]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [one.arm for one in chosen]


def test_built_in_arms_keep_their_look_and_others_do_not_depend_on_the_order():
    swept = [f"ppo-clip clip={value}" for value in (0.1, 0.2, 0.3)]
    labels = [*swept, "ppo-clip", "reinforce"]
    styles = arm_styles(labels)
    assert list(styles) == labels
    assert styles["ppo-clip"] == FIXED["ppo-clip"]
    own = [label for label in labels if label in FIXED]
    assert {label: arm_styles(labels[::-1])[label] for label in own} == {label: FIXED[label] for label in own}
    assert len({style.color for style in styles.values()}) == len(labels)
    many = arm_styles([f"arm {number}" for number in range(40)])
    assert len(set(many.values())) == 40


def test_colours_differ_for_colour_blind_readers():
    """All pairs stay apart with either red-green blindness, simulated as in Machado et al. (2009), severity 1."""
    deuteranopia = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    protanopia = np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    )
    colors = [np.array(matplotlib.colors.to_rgb(style.color)) for style in FIXED.values()]
    for matrix in (np.eye(3), deuteranopia, protanopia):
        for one, other in itertools.combinations(colors, 2):
            assert np.linalg.norm(matrix @ (one - other)) > 0.1
    assert len({(style.marker, style.dash) for style in FIXED.values()}) == len(FIXED)


def test_every_colour_has_a_contrast_of_three_to_one_on_white():
    """As the Web Content Accessibility Guidelines 2.1 define it, section 1.4.11."""
    for style in [*FIXED.values(), *arm_styles([f"arm {number}" for number in range(40)]).values()]:
        assert contrast(style.color) >= 3.0, style.color


def contrast(color):
    """Return the contrast of a colour with white, from 1 to 21."""
    channels = np.array(to_rgb(color))
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05)


def test_an_arm_looks_like_its_algorithm_whatever_its_label():
    arms = [("PPO", "ppo-clip"), ("wide", "ppo-clip"), ("R", "reinforce")]
    document = experiment_document(["a"], ["CartPole-v1"], seeds=1)
    document |= {"arms": [{"label": label, "algorithm": algorithm, "settings": {}} for label, algorithm in arms]}
    labels = [label for label, _ in arms]
    styles = styles_of(Results(document, make_tables(labels, ["CartPole-v1"], seeds=1)))
    assert (styles["PPO"], styles["R"]) == (FIXED["ppo-clip"], FIXED["reinforce"])
    many = [f"x{number}" for number in range(30)]
    results = Results(experiment_document(many, ["CartPole-v1"], seeds=1), make_tables(many, ["CartPole-v1"], seeds=1))
    pair = [arm for arm in many if styles_of(results)[arm].color == styles_of(results)["x0"].color][:2]
    assert len(pair) == 2
    assert len({style.color for style in styles_of(results, pair).values()}) == 2


@pytest.mark.parametrize(
    "options",
    [
        {"arms": ["ppo-clip"], "environments": ["CartPole-v1"], "seeds": 1, "baseline": None},
        {"arms": ["ppo-clip", "reinforce"], "seeds": 1},
        {"arms": ["ppo-clip", "reinforce"], "environments": ["Unknown-v0"], "seeds": 3},
        {"arms": ["ppo-clip", "reinforce"], "environments": ["CartPole-v1", "Unknown-v0"], "seeds": 3},
        *(
            {
                "arms": ["ppo-clip", "reinforce"],
                "seeds": 2,
                "outcomes": {
                    (arm, env, seed): status
                    for arm in ("ppo-clip", "reinforce")
                    for env in ENVIRONMENTS
                    for seed in range(2)
                },
            }
            for status in ("failed", "diverged", "missing")
        ),
    ],
    ids=["one run", "one seed", "unknown environment", "half unknown", "all failed", "all diverged", "all missing"],
)
def test_poor_data_gives_a_figure_that_says_so(options):
    for name, plot in every_figure(data(steps=8_000, **options)).items():
        ax = new_axes()
        assert plot(ax) is ax, name
        assert "planned" in footer(ax), name
        ax.figure.draw_without_rendering()


def test_an_arm_without_used_runs_is_named_in_legend_and_footer():
    outcomes = {("trpo", "CartPole-v1", seed): "failed" for seed in range(3)}
    results = data(["trpo", "ppo-clip"], baseline="ppo-clip", seeds=3, steps=8_000, outcomes=outcomes)
    ax = draw.plot_learning_curves(results, "CartPole-v1", ax=new_axes())
    labels = [" ".join(text.get_text().split()) for text in ax.get_legend().get_texts()]
    assert "trpo (no used run)" in labels
    assert "trpo 0 of 3" in footer(ax)
    aggregate = draw.plot_aggregate(results, ax=new_axes())
    assert "Left out for want of a finished run on every environment: trpo." in footer(aggregate)
    assert "Runs: 12 planned, 9 finished, 3 failed, 6 used. Used: trpo 0 of 6; every other arm all." in footer(
        aggregate
    )


def test_figures_of_all_environments_count_only_runs_that_can_be_averaged():
    results = data(["ppo-clip", "reinforce"], ["CartPole-v1", "Odd-v0"], seeds=3, steps=8_000)
    for name in ("curves all", "aggregate", "profile"):
        ax = every_figure(results)[name](new_axes())
        assert "Odd-v0" in footer(ax), name
        assert "Runs: 6 planned, 6 finished, 0 failed, 6 used; 3 per arm." in footer(ax), name


def test_unknown_reference_is_said_and_nothing_is_invented():
    results = data(["ppo-clip", "reinforce"], ["Unknown-v0"], seeds=3, steps=8_000)
    ax = draw.plot_aggregate(results, ax=new_axes())
    assert "reference" in texts(ax)
    assert not ax.lines


def test_diagnostics_name_the_nearest_column(troubled):
    with pytest.raises(RlbenchError, match="Did you mean 'entropy'"):
        draw.plot_diagnostics(troubled, quantity="entropie", ax=new_axes())


def test_diagnostics_are_the_median_of_the_used_runs(troubled):
    ax = draw.plot_diagnostics(troubled, "CartPole-v1", "entropy", ax=new_axes())
    runs = troubled.scores[
        (troubled.scores["arm"] == "ppo-adaptive") & (troubled.scores["environment"] == "CartPole-v1")
    ]
    updates = troubled.updates
    used = updates[updates["cell"].isin(runs.loc[runs["used"], "cell"])]
    (line,) = [line for line in ax.lines if line.get_label() == "ppo-adaptive"]
    np.testing.assert_allclose(line.get_ydata(), used.groupby("step")["entropy"].median())


def test_labels_are_text_not_mathematics():
    label = r"lr=$\alpha$ & <script>"
    results = data([label, "reinforce"], seeds=2, steps=8_000)
    ax = draw.plot_scores(results, "CartPole-v1", ax=new_axes())
    with styled("report"):
        ax.figure.draw_without_rendering()
    assert label in [tick.get_text() for tick in ax.get_yticklabels()]
    assert not any(tick.get_parse_math() for tick in ax.get_yticklabels())


def test_importing_the_analysis_needs_no_torch_and_leaves_the_backend_alone():
    code = (
        "import sys, matplotlib; before = matplotlib.rcParams._get('backend');"
        "import rlbench.analysis.report.experiment_page, rlbench.analysis.draw;"
        "assert matplotlib.rcParams._get('backend') is before;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_learning_curves_against_what_an_arm_s_runs_cost():
    results = Results(experiment_document(), make_tables(steps=20_000))
    ends = {}
    for cost in ("steps", "gradient_steps", "seconds"):
        ax = draw.plot_learning_curves(results, "CartPole-v1", against=cost, ax=new_axes())
        assert ax.get_xlabel() == {"steps": "environment steps", "gradient_steps": "gradient steps"}.get(cost, cost)
        ends[cost] = max(line.get_xdata().max() for line in ax.lines)
    runs = results.runs[results.runs["environment"] == "CartPole-v1"]
    assert ends["gradient_steps"] == pytest.approx(runs["gradient_steps"].max())
    assert ends["seconds"] == pytest.approx(runs.groupby("arm")["seconds"].median().max())
    with pytest.raises(RlbenchError, match="against other costs than steps, are of one environment"):
        draw.plot_learning_curves(results, against="seconds", ax=new_axes())
    with pytest.raises(RlbenchError, match="against steps, gradient_steps, seconds, not 'second'"):
        draw.plot_learning_curves(results, "CartPole-v1", against="second", ax=new_axes())
    results.runs.loc[:, "gradient_steps"] = 0
    with pytest.raises(RlbenchError, match="The gradient steps of reinforce on CartPole-v1 are not known"):
        draw.plot_learning_curves(results, "CartPole-v1", against="gradient_steps", ax=new_axes())


def test_learning_curves_of_the_iqm_and_with_a_band_for_the_whole_line():
    results = data(["trpo", "ppo-clip"], baseline="trpo", seeds=5, steps=8_000)
    drawn = {}
    for name, options in {"mean": {}, "whole": {"simultaneous": True}, "iqm": {"line": "iqm"}}.items():
        for environment in ("CartPole-v1", None):
            ax = draw.plot_learning_curves(results, environment, ax=new_axes(), **options)
            low, high = ax.collections[0].get_datalim(ax.transData).intervaly
            drawn[name, environment] = high - low, ax.lines[0].get_ydata(), footer(ax)
    for environment in ("CartPole-v1", None):
        assert drawn["whole", environment][0] > drawn["mean", environment][0]
        assert (drawn["whole", environment][1] == drawn["mean", environment][1]).all()
        assert (drawn["iqm", environment][1] != drawn["mean", environment][1]).any()
    assert "Line: mean of the used runs. Band, for the whole line: nominal 95 %" in drawn["whole", None][2]
    assert "Line: IQM of the used runs. Band, at each step by itself: 95 % interval" in drawn["iqm", "CartPole-v1"][2]
    with pytest.raises(RlbenchError, match="for the mean only"):
        draw.plot_learning_curves(results, line="iqm", simultaneous=True, ax=new_axes())


def test_runs_that_never_reach_a_threshold_are_in_the_share():
    outcomes = {("trpo", "CartPole-v1", seed): "diverged" for seed in range(2)}
    results = data(["trpo", "ppo-clip"], baseline="trpo", seeds=5, outcomes=outcomes)
    ax = draw.plot_reached(results, "CartPole-v1", 2.0, ax=new_axes())
    assert all((line.get_ydata() == 0).all() for line in ax.lines)
    ax = draw.plot_reached(results, "CartPole-v1", 0.5, ax=new_axes())
    table = steps_to_threshold(results.curves, 0.5)
    own = table[(table["arm"] == "trpo") & (table["environment"] == "CartPole-v1")]
    assert len(own) == 5
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(own["reached"].mean())
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["trpo", "ppo-clip"]


def test_letters_that_the_font_does_not_have_are_drawn_without_warnings(tmp_path) -> None:
    """Warnings are errors here."""

    def make() -> Figure:
        figure = Figure(layout="constrained")
        figure.add_subplot().set_title("策略 🚀 שלום مرحبا")
        return figure

    render([Picture("letters", "s", "Letters", "", "", make)], tmp_path, ["png"])
    assert (tmp_path / "letters.png").stat().st_size > 1000


def test_steps_that_are_counted_in_millions_are_not_called_thousandths():
    table = pd.DataFrame({"step": np.arange(11) / 10, "score": np.arange(11.0)})
    parts = [table.assign(algorithm=name, environment="E", seed=seed) for name in "ab" for seed in (0, 1)]
    for factor, last in ((1.0, "1"), (1e6, "1M")):
        results = read_results(pd.concat(part.assign(step=part["step"] * factor) for part in parts))
        axis = results.plot_learning_curves(Figure().subplots(), environment="E").xaxis
        shown = axis.get_major_formatter().format_ticks([0.0, 0.2 * factor, factor])
        assert shown == ["0", "0.2" if factor == 1 else "200k", last]


def labels_of(values, bold=None, width=3.0):
    """Return the tick labels of an axis with these values, as they are drawn in a figure of a width in inches."""
    with styled("paper"):
        figure = frame.new_figure(width, 2.0)
        ax = figure.subplots()
        ax.plot(values, values)
        axes.scale_of(values).apply(ax, "gae_lambda", bold)
        frame.settle(figure)
        figure.draw_without_rendering()
        return [label.get_text() for label in ax.get_xticklabels()]


def test_ticks_that_would_touch_stand_on_two_lines():
    values = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 1.0]
    assert labels_of(values, width=6.0) == ["0", "0.5", "0.8", "0.9", "0.95", "0.98", "1"]
    narrow = labels_of(values, bold=0.95, width=2.3)
    assert {label.strip() for label in narrow} == {"0", "0.5", "0.8", "0.9", "0.95", "0.98", "1"}
    assert any(label.startswith("\n") for label in narrow)
    tiny = labels_of([float(value) for value in range(100, 130)], bold=129.0, width=2.0)
    assert "" in tiny  # no room on two lines either
    assert tiny[-1].strip() == "129"


def test_an_order_of_arms_has_colours_from_dark_to_light_that_can_be_seen_on_white():
    styles = list(ordered_styles([f"lr={value}" for value in range(8)]).values())
    brightness = [sum(to_rgb(style.color)) for style in styles]
    assert brightness == sorted(brightness)
    assert min(contrast(style.color) for style in styles) >= 3.0
    assert len({(style.color, style.marker) for style in styles}) == 8


def test_a_legend_that_is_taken_away_leaves_no_room_behind(troubled):
    offsets = []
    for look in ({"legend": False}, {"legend": False, "title": "Mine"}):
        ax = draw.plot_scores(troubled, "CartPole-v1", ax=new_axes(), **look)
        ax.figure.draw_without_rendering()
        offsets.append(ax._left_title.get_window_extent().y0 - ax.get_window_extent().y1)
    assert offsets[0] == pytest.approx(offsets[1])
    assert offsets[0] < 15.0


def test_other_metrics_are_not_compared_anew_either(troubled):
    whole = {one.arm: one for one in troubled.compare(metric="final") if one.environment == "CartPole-v1"}
    shown = troubled.showing(["trpo"], {"trpo": "TRPO"})
    (one,) = [one for one in shown.compare(metric="final") if one.environment == "CartPole-v1"]
    assert (one.arm, one.baseline, one.p_adjusted) == ("TRPO", "reinforce", whole["trpo"].p_adjusted)
    assert shown.verdicts == []
