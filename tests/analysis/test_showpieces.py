"""Figures for papers and slides: what they show is what was measured, and it can be read."""

from __future__ import annotations

import re
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from rlbench.analysis.draw import arm_styles, draw_all, styled, usual
from rlbench.analysis.draw.figures import KINDS, effective_ratio, ratio_numbers, write_showpieces
from rlbench.analysis.draw.frame import apart, broken, readable
from rlbench.analysis.draw.marks import draw_quantiles
from rlbench.analysis.draw.rows import aggregates
from rlbench.analysis.draw.style import FIXED, styles_like
from rlbench.analysis.scores.results import ActionMap
from rlbench.analysis.scores.scores import ALL
from rlbench.errors import RlbenchError
from rlbench.suite import Showpiece
from tests.analysis.showpieces import SWEEP, VARIANTS, covered, results_of, visible_texts

MEDIA = ("paper", "slides")
PIECES = [
    Showpiece("curves", "curves", "made", arms=["ppo-clip clip=0.2", "reinforce"], title="Who is faster"),
    Showpiece("many", "curves", "made"),
    Showpiece("timed", "curves", "made", arms=["ppo-clip clip=0.2", "reinforce"], against="seconds"),
    Showpiece("clip", "dose", "made", field="clip", mark=0.2, said="the default"),
    Showpiece("both", "stability", "made", relative_to={"clip": 0.2}, labels={"ppo-clip": "PPO"}),
    Showpiece("fraction", "training", "made", arms=["ppo-clip clip=0.2"], band=(0.1, 0.4), said="good"),
    Showpiece("fractions", "training", "made", arms=SWEEP, band=(0.1, 0.4)),
    Showpiece("kl", "distribution", "made", mark=0.01, said="δ = 0.01"),
    Showpiece("scatter", "scatter", "made", arms=SWEEP, band=(0.1, 0.4)),
    Showpiece("two", "scatter", "made", against="kl:mean"),
    Showpiece("value", "scatter", "made", field="clip", mark=0.2, said="the default"),
    Showpiece("tried", "best-of", "made"),
    Showpiece(
        "runs", "scores", "made", arms=["reinforce", "ppo-clip clip=0.2"], labels={"reinforce": "VPG"}, columns=1
    ),
    Showpiece("middle", "iqm", "made"),
    Showpiece("shares", "profile", "made", arms=["ppo-clip clip=0.2", "reinforce"]),
    Showpiece("wins", "improvement", "made"),
    Showpiece("gains", "difference", "made", environments=["CartPole-v1"]),
    Showpiece("map", "policy-map", "made", arms=["ppo-clip clip=0.2", "trpo delta=0.1"], environments=["CartPole-v1"]),
    Showpiece("maps", "policy-map", "made", arms=SWEEP[:3], environments=["Acrobot-v1"]),
    Showpiece("ratio", "effective-ratio"),
]


def mapped(environment, arms, variables=(), seed="median", steps=()):
    """Return a map of made-up policies."""
    x, y = (grid.ravel() for grid in np.meshgrid(np.linspace(-0.2, 0.2, 7), np.linspace(-2, 2, 5)))
    rows = [
        pd.DataFrame(
            {"arm": arm, "x": x, "y": y, "action": 1 / (1 + np.exp(9 * x + place * y)), "value": 10 * place + x}
        )
        for place, arm in enumerate(arms)
    ]
    return ActionMap(pd.concat(rows, ignore_index=True), ("pole angle", "pole velocity"), "P(action 1)", (0.0, 1.0))


@pytest.fixture(scope="module")
def results():
    made = results_of(
        outcomes={("reinforce", "CartPole-v1", 0): "diverged", ("trpo delta=0.1", "Acrobot-v1", 1): "failed"}
    )
    made.action_map = mapped
    return made


@pytest.fixture(scope="module")
def drawn(results):
    return {style: {one.piece.name: one for one in draw_all(PIECES, {"made": results}, style)} for style in MEDIA}


def test_every_kind_is_tested():
    assert {one.kind for one in PIECES} == {*KINDS, "effective-ratio"}


@pytest.mark.parametrize("style", MEDIA)
@pytest.mark.parametrize("name", [one.name for one in PIECES])
def test_figures_can_be_read(drawn, style, name):
    figure = drawn[style][name].figure
    assert covered(figure) == []
    smallest = {"paper": 8.0, "slides": 18.0}[style]
    width, height = figure.bbox.width, figure.bbox.height
    for text, box, size in visible_texts(figure):
        assert size >= smallest, text
        assert -1 <= box.x0 <= box.x1 <= width + 1, text
        assert -1 <= box.y0 <= box.y1 <= height + 1, text
    for ax in figure.axes:
        if ax.axison:
            assert ax.get_window_extent().height > 0.15 * height


def test_figures_have_the_size_of_a_column_or_a_slide(drawn):
    widths = {name: one.figure.get_figwidth() for name, one in drawn["paper"].items()}
    assert set(widths.values()) == {3.3, 6.8}
    assert widths["clip"] == widths["both"] == widths["fraction"] == 3.3
    for one in drawn["slides"].values():
        width, height = one.figure.get_size_inches()
        assert width / height == pytest.approx(16 / 9, rel=1e-3)


@pytest.mark.parametrize(
    "name",
    ["curves", "many", "timed", "clip", "both", "fraction", "fractions", "scatter", "two", "value", "tried", "shares"],
)
def test_no_number_lies_beyond_the_axes(drawn, name):
    for style in MEDIA:
        one = drawn[style][name]
        for (_, rows), ax in zip(one.numbers.groupby("panel", sort=False), one.figure.axes, strict=False):
            low, high = ax.get_ylim()
            values = rows[["point", "low", "high"]].to_numpy(float)
            assert low <= np.nanmin(values)
            assert np.nanmax(values) <= high


def test_many_rows_and_long_names_have_room():
    arms = [*SWEEP, *(f"trpo delta={value}" for value in range(6))]
    places = ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCarContinuous-v0"]
    members = {"m": results_of(arms, places, seeds=2)}
    pieces = [Showpiece("k", "distribution", "m"), Showpiece("c", "curves", "m", arms=[arms[0], arms[-1]])]
    for style in MEDIA:
        for one in draw_all(pieces, members, style):
            assert covered(one.figure) == []


def test_the_first_arm_of_a_built_in_algorithm_looks_like_it():
    styles = styles_like({"PPO": "ppo-clip", "PPO, other": "ppo-clip", "trpo": "trpo", "TRPO": "trpo", "mine": "own"})
    assert styles["PPO"] == FIXED["ppo-clip"]
    assert styles["trpo"] == FIXED["trpo"]
    assert len(set(styles.values())) == 5


def test_what_has_no_name_beside_it_is_listed(drawn):
    for style in MEDIA:
        figure = drawn[style]["two"].figure
        listed = [text for text, *_ in visible_texts(figure)]
        assert {"ppo-clip", "trpo", "reinforce"} <= set(listed)
        beside = [text for text, *_ in visible_texts(drawn[style]["curves"].figure)]
        assert beside.count("reinforce") == 2


def test_only_slides_carry_their_title(drawn):
    said = {style: {text for text, *_ in visible_texts(drawn[style]["curves"].figure)} for style in MEDIA}
    assert "Who is faster" in said["slides"] - said["paper"]


def test_lines_are_told_apart_without_colours(drawn):
    for name in ("curves", "fractions", "clip", "both"):
        for ax in drawn["paper"][name].figure.axes:
            lines = [line for line in ax.lines if not str(line.get_label()).startswith("_")]
            assert len({f"{line.get_marker()} {line._dash_pattern}" for line in lines}) == len(lines)


def test_captions_say_what_n_and_the_intervals_are(drawn):
    captions = {name: one.caption for name, one in drawn["paper"].items()}
    for name, text in captions.items():
        if name != "ratio":
            assert re.search(
                r"n = (3 runs|2 to 3 runs) per arm and environment, 20,000 environment steps each\.", text
            ), name
            assert "planned" in text
    for name in ("curves", "clip", "both", "scatter"):
        assert "95 % interval" in captions[name]
        assert "Student t" in captions[name]
    assert "1 failed" in captions["curves"]
    assert "end with a cross" in captions["curves"]
    assert "no confidence interval" in captions["fraction"]
    assert "Dashed: δ = 0.01." in captions["kl"]
    assert "Shaded: good (10 to 40 %)." in captions["fraction"]
    assert "against the clip range ε (dashed: 0.2, the default)." in captions["clip"]
    assert "×1 is PPO clip 0.2 (given), trpo delta " in captions["both"]


def test_row_charts_show_the_numbers_of_the_report(results, drawn):
    numbers = {name: drawn["paper"][name].numbers for name in ("runs", "middle", "wins", "gains")}
    runs = numbers["runs"].query("panel == 'CartPole-v1'").set_index("line")["point"]
    used = results.scores.query("environment == 'CartPole-v1' and used").groupby("arm")["auc"].mean()
    assert runs.to_dict() == pytest.approx({arm: used[arm] for arm in ("reinforce", "ppo-clip clip=0.2")})
    known = aggregates(results, "auc")
    middle = numbers["middle"].query("x == 0").set_index("line")["point"]
    assert middle.to_dict() == pytest.approx({arm: iqm.point for arm, (iqm, _) in known.items()})
    compared = {(one.environment, one.arm): one for one in results.comparisons}
    for what, rows in (("improvement", numbers["wins"]), ("difference", numbers["gains"])):
        for panel, arm, point, low in rows[["panel", "line", "point", "low"]].itertuples(index=False):
            estimate = getattr(compared[panel, arm], what)
            assert (point, low) == pytest.approx((estimate.point, estimate.low), nan_ok=True)
    assert set(numbers["wins"]["panel"]) == {ALL, "CartPole-v1", "Acrobot-v1"}
    assert set(numbers["gains"]["panel"]) == {"CartPole-v1"}
    texts = [text for text, *_ in visible_texts(drawn["paper"]["runs"].figure)]
    assert "VPG" in texts
    assert "reinforce" not in texts


def test_panels_stand_as_they_are_asked_to(drawn):
    places = {round(ax.get_position().x0, 2) for ax in drawn["paper"]["runs"].figure.axes}
    assert len(places) == 1


def test_a_failed_run_counts_as_the_worst_where_a_setting_stands_for_itself(results, drawn):
    numbers = drawn["paper"]["value"].numbers
    scores = results.failures_as_worst("auc").scores
    here = scores[scores["environment"] == "Acrobot-v1"].groupby("arm")["auc_normalised"].mean()
    shown = numbers[numbers["panel"] == "Acrobot-v1"].set_index("line")
    assert shown["point"].to_dict() == pytest.approx({arm: here[arm] for arm in VARIANTS})
    assert shown["x"].to_dict() == {arm: float(arm.rpartition("=")[2]) if "clip=" in arm else 0.2 for arm in VARIANTS}
    assert shown[["low", "high"]].isna().all().all()


def test_the_best_of_all_settings_is_scored_by_runs_that_did_not_pick_it(results, drawn):
    numbers = drawn["paper"]["tried"].numbers
    scores = results.failures_as_worst("auc").scores
    here = scores[(scores["environment"] == "Acrobot-v1") & (scores["algorithm"] == "ppo-clip")]
    table = here.pivot(index="arm", columns="seed", values="auc_normalised")
    expected = [table.loc[table.drop(columns=seed).mean(axis=1).idxmax(), seed] for seed in table]
    shown = numbers[(numbers["panel"] == "Acrobot-v1") & (numbers["line"] == "ppo-clip")]
    assert shown["x"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert shown["point"].iloc[-1] == pytest.approx(np.mean(expected))
    assert shown["point"].iloc[0] == pytest.approx(table.to_numpy().mean())


def test_curves_are_the_means_of_the_used_runs(results, drawn):
    numbers = drawn["paper"]["curves"].numbers
    own = numbers[(numbers["panel"] == "CartPole-v1") & (numbers["line"] == "reinforce")]
    curves = results.curves
    used = curves[(curves["environment"] == "CartPole-v1") & (curves["arm"] == "reinforce") & curves["used"]]
    np.testing.assert_allclose(own["point"], used.groupby("step")["return"].mean())
    assert used["seed"].nunique() == 2
    assert (own["low"] <= own["point"]).all()
    assert (own["point"] <= own["high"]).all()
    crosses = [line for line in drawn["paper"]["curves"].figure.axes[0].lines if line.get_gid() == "stopped"]
    assert len(crosses) == 1


def test_a_dose_curve_shows_the_mean_score_of_every_value(results, drawn):
    numbers, scores = drawn["paper"]["clip"].numbers, results.scores
    for environment, rows in numbers.groupby("line"):
        assert list(rows["x"]) == [0.1, 0.2, 0.4, 0.8]
        own = scores if environment == "mean" else scores[scores["environment"] == environment]
        means = own.groupby(["arm", "environment"])["auc_normalised"].mean().groupby("arm").mean()
        np.testing.assert_allclose(rows["point"], [means[arm] for arm in SWEEP])
    assert set(numbers["line"]) == {"CartPole-v1", "Acrobot-v1", "mean"}


def test_stability_is_drawn_over_factors_of_the_usual_value(drawn):
    numbers = drawn["paper"]["both"].numbers
    factors = {line: list(rows["x"]) for line, rows in numbers.groupby("line")}
    np.testing.assert_allclose(factors["ppo-clip"], [0.5, 1, 2, 4])
    best = numbers[numbers["line"] == "trpo"]
    assert best.loc[best["point"].idxmax(), "x"] == 1.0  # every arm sets delta, so the best one counts as 1


def test_stability_takes_the_value_that_an_arm_leaves_as_it_is():
    results = results_of(["ppo-clip", "ppo-clip clip=0.1", "ppo-clip clip=0.8"])
    (one,) = draw_all([Showpiece("s", "stability", "made", field="clip")], {"made": results})
    np.testing.assert_allclose(one.numbers["x"], [0.5, 1, 4])
    assert "clip 0.2 (default)" in one.caption


def test_quantiles_are_those_of_all_updates(results, drawn):
    numbers = drawn["paper"]["kl"].numbers
    row = numbers[(numbers["panel"] == "Acrobot-v1") & (numbers["line"] == "reinforce")].iloc[0]
    cells = results.scores.query("environment == 'Acrobot-v1' and arm == 'reinforce' and used")["cell"]
    values = results.updates.loc[results.updates["cell"].isin(cells), "kl"]
    assert row["updates"] == len(values)
    assert row["q0.5"] == pytest.approx(values.median())
    assert row["q0.99"] == pytest.approx(values.quantile(0.99))
    assert row["beyond"] == pytest.approx((values > 0.01).mean())


def test_updates_without_any_kl_stand_at_the_edge():
    values = {name: [0.0, 0.01] for name in ("q0.01", "q0.05", "q0.25", "q0.5", "q0.75", "q0.95", "q0.99")}
    ax = Figure().subplots()
    draw_quantiles(ax, pd.DataFrame({"line": ["still", "moves"], **values}), arm_styles(["still", "moves"]))
    (arrow,) = [line for line in ax.lines if line.get_marker() == "<"]
    assert arrow.get_xdata()[0] == ax.get_xlim()[0]
    assert ax.get_xscale() == "log"


def test_the_effective_ratio_has_a_gradient_exactly_where_it_is_drawn_solid():
    import torch

    from rlbench.functional import clip

    ratios = torch.linspace(0.05, 1.95, 96, requires_grad=True)
    for sign in (1.0, -1.0):
        objective = torch.minimum(ratios * sign, clip(ratios, 0.8, 1.2) * sign)
        (gradient,) = torch.autograd.grad(objective.sum(), ratios)
        x = ratios.detach().numpy().astype(float)
        np.testing.assert_allclose(effective_ratio(x, sign), objective.detach().numpy() / sign, rtol=1e-6)
        table = ratio_numbers(sign)
        solid = table[table["line"] == "gradient"]["x"]
        np.testing.assert_array_equal(gradient.numpy() != 0, (x > solid.min()) & (x < solid.max()))


@pytest.mark.parametrize(("ratio", "sign", "expected"), [(0.7, 1, 0.7), (0.7, -1, 0.8), (1.5, 1, 1.2), (1.5, -1, 1.5)])
def test_effective_ratios_by_hand(ratio, sign, expected):
    assert effective_ratio(np.array([ratio]), sign)[0] == pytest.approx(expected)


def test_a_style_ends_with_its_block():
    before = dict(matplotlib.rcParams)
    with styled("slides") as style:
        assert matplotlib.rcParams["font.size"] >= 18
        assert style.name == "slides"
    assert dict(matplotlib.rcParams) == before


def test_names_move_apart_in_order_and_no_further_than_they_must():
    np.testing.assert_allclose(apart(np.array([5.0, 1.0]), np.array([2.0, 2.0]), 0, 10), [5, 1])
    placed = apart(np.array([5.0, 5.1, 4.9, 9.0]), np.array([2.0, 2.0, 4.0, 2.0]), 0, 20)
    np.testing.assert_allclose(placed[[2, 0, 1]], 15 / 3 + np.array([-8, 1, 7]) / 3 + 0.0, atol=0.7)
    assert placed[0] - placed[2] == pytest.approx(3)
    assert placed[1] - placed[0] == pytest.approx(2)
    assert placed[3] >= placed[1] + 2 - 1e-9
    inside = apart(np.full(4, 10.0), np.full(4, 2.0), 0, 10)
    np.testing.assert_allclose(np.sort(inside), [4, 6, 8, 10])


def test_long_names_break_between_words():
    assert broken("MountainCarContinuous-v0") == "MountainCar\nContinuous-v0"
    assert broken("CartPole-v1") == "CartPole-v1"
    assert broken("abcdefghijklmnopqrstuvwxyz") == "abcdefghijklmnopqrstuvwxyz"
    assert max(readable("#ffff00")) < 0.9


def test_a_sweep_of_many_values_is_no_search():
    swept = results_of([f"ppo-clip clip={value / 10:g}" for value in range(1, 10)])
    assert [(piece.kind, piece.field) for piece in usual("made", swept) if piece.field] == [("dose", "clip")]
    assert "best-of" not in {piece.kind for piece in usual("made", swept)}


def test_a_suite_without_figures_has_the_usual_ones(results):
    names = [one.name for one in usual("made", results)]
    assert names == ["made-curves", "made-kl", "made-clip", "made-delta"]
    few = results_of(["ppo-clip", "reinforce"], ["CartPole-v1"])
    found = list(draw_all([], {"few": few}, "slides"))
    assert [one.piece.name for one in found] == ["few-curves", "few-kl"]
    assert all(isinstance(one.figure, Figure) and one.caption for one in found)


def test_a_figure_of_an_experiment_without_runs_is_left_out(results):
    pieces = [PIECES[0], replace(PIECES[0], name="other", experiment=["made", "missing"]), PIECES[-1]]
    assert [one.piece.name for one in draw_all(pieces, {"made": results})] == ["curves", "ratio"]
    assert [one.piece.name for one in draw_all(pieces, {})] == ["ratio"]


@pytest.mark.parametrize(
    ("piece", "message"),
    [
        (Showpiece("x", "curve", "made"), "Figure 'x': there is no kind 'curve'. Did you mean 'curves'?"),
        (Showpiece("x", "curves", "made", arms=["ppo-clp clip=0.2"]), "has no arm 'ppo-clp clip=0.2'. Did you mean"),
        (Showpiece("x", "kl"), "there is no kind 'kl'"),
        (Showpiece("x", "curves"), "needs an experiment"),
        (Showpiece("x", "curves", "made", environments=["Cart"]), "has no environment 'Cart'"),
        (Showpiece("x", "dose", "made"), "clip, delta are swept; say which with field="),
        (Showpiece("x", "dose", "made", field="lr"), "differ in one lr alone"),
        (Showpiece("x", "training", "made", metric="kll"), "No run records 'kll'. Did you mean 'kl'?"),
        (Showpiece("x", "scatter", "made", against="kl"), "say which number is meant, as in kl:mean"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(results, piece, message):
    with pytest.raises(RlbenchError) as error:
        list(draw_all([piece], {"made": results}))
    assert message in str(error.value)


def test_too_much_for_a_figure_is_said(results):
    arms = dict.fromkeys(VARIANTS, "explained " * 40)
    with pytest.raises(RlbenchError, match="Figure 'x': there is no room"):
        list(draw_all([Showpiece("x", "distribution", "made", labels=arms)], {"made": results}))


def test_poor_data_can_be_drawn():
    single = results_of(["ppo-clip clip=0.1", "ppo-clip clip=0.2"], ["Unknown-v0"], seeds=1)
    pieces = [
        Showpiece("c", "curves", "m"),
        Showpiece("d", "dose", "m", metric="auc", field="clip"),
        Showpiece("k", "distribution", "m"),
    ]
    assert len(list(draw_all([*pieces, Showpiece("t", "training", "m")], {"m": single}))) == 4
    (unknown,) = draw_all([Showpiece("d", "dose", "m", field="clip")], {"m": single})  # no reference: nothing to show
    assert unknown.numbers.empty
    with pytest.raises(RlbenchError, match="no environment has a reference"):
        list(draw_all([Showpiece("s", "stability", "m", field="clip")], {"m": single}))
    nothing = results_of(
        ["ppo-clip"], ["CartPole-v1"], 2, outcomes={("ppo-clip", "CartPole-v1", n): "failed" for n in range(2)}
    )
    assert (
        len(list(draw_all([Showpiece("c", "curves", "m"), Showpiece("k", "distribution", "m")], {"m": nothing}))) == 2
    )


def test_files_are_vectors_with_letters_and_the_same_bytes_again(results, tmp_path):
    pieces = [PIECES[0], PIECES[-1]]
    for folder in ("one", "two"):
        names = write_showpieces(draw_all(pieces, {"made": results}), tmp_path / folder, "paper", "Title")
        assert names == ["curves", "ratio"]
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["captions.md", *(f"{name}.{kind}" for name in names for kind in ("csv", "pdf", "png", "svg"))]
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    assert b"/Type3" not in (tmp_path / "one" / "curves.pdf").read_bytes()
    png = (tmp_path / "one" / "curves.png").read_bytes()
    assert int.from_bytes(png[16:20], "big") == round(6.8 * 300)
    text = (tmp_path / "one" / "captions.md").read_text()
    assert text.startswith("# Title\n")
    assert "## curves\n\n**Who is faster.** Undiscounted return" in text
    table = pd.read_csv(tmp_path / "one" / "curves.csv")
    assert list(table.columns) == ["panel", "line", "x", "point", "low", "high"]
    (tmp_path / "file").write_text("")
    with pytest.raises(RlbenchError, match="Cannot write the figures"):
        write_showpieces([], tmp_path / "file")
