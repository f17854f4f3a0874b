"""`rlbench figures` of a file, of what was run by name, and of a suite's folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result

from rlbench.analysis.draw import figures
from rlbench.analysis.draw.style import Style
from rlbench.results import Results
from rlbench.suite import Showpiece
from tests.cli.conftest import EXPERIMENT

Cli = Callable[..., Result]
SUITE = """
from rlbench import Showpiece, Suite

SUITE = Suite(
    figures=[
        Showpiece("learning", "curves", "tiny", arms=["ppo-clip"], title="It learns"),
        Showpiece("later", "curves", "other"),
        Showpiece("ratio", "effective-ratio"),
    ]
)
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Return the folder of a suite of two experiments that declares three figures."""
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "first.py").write_text(EXPERIMENT)
    (folder / "second.py").write_text(EXPERIMENT.replace('"tiny"', '"other"').replace("steps=64", "steps=32"))
    (folder / "suite.py").write_text(SUITE)
    return folder


def test_figures_of_a_file_or_a_name_are_the_usual_ones(cli: Cli, experiment: Path) -> None:
    result = cli("figures", experiment)
    assert (result.exit_code, "No run of 'tiny' is stored in results" in result.stderr) == (2, True)
    cli("run", experiment, "--workers", 0)
    result = cli("figures", experiment, "--style", "slides")
    assert result.exit_code == 0, result.output
    assert result.stdout == "Figures: results/tiny/slides (tiny-curves, tiny-kl, tiny-policy-map)\n"
    assert "## tiny-kl" in Path("results/tiny/slides/captions.md").read_text()
    result = cli("figures", "tiny", "--only", "tiny-kl", "--out", "there")
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("there").iterdir()) == [
        "captions.md",
        *(f"tiny-kl.{kind}" for kind in ("csv", "pdf", "png", "svg")),
    ]


def test_figures_of_a_suite_are_those_that_it_declares(cli: Cli, suite: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("run", suite, "--only", "tiny", "--workers", 0).exit_code == 0
    seen: dict[str, list[str]] = {}

    def drawn(piece: Showpiece, style: Style, members: dict[str, Results]) -> figures.Drawn:
        seen[piece.name] = sorted(members)
        return figures.ratio(piece, style)

    monkeypatch.setattr(figures, "draw_figure", drawn)
    result = cli("figures", suite)
    assert result.exit_code == 0, result.output
    assert "Left out later: no run of other is stored in results.\n" in result.stdout
    assert result.stdout.endswith("Figures: results/text/paper (learning, ratio)\n")
    assert seen == {"learning": ["tiny"], "ratio": ["tiny"]}
    assert "**It learns.**" in Path("results/text/paper/captions.md").read_text()
    suite.rename(suite.with_name("moved"))
    result = cli("figures", "text")  # by the name of its results, which do not know what it declares
    assert result.exit_code == 0, result.output
    assert "(tiny-curves, tiny-kl, tiny-policy-map)" in result.stdout


def test_figures_are_drawn_as_they_are_asked_for(cli: Cli, suite: Path) -> None:
    cli("run", suite, "--workers", 0)
    asked = ["--kind", "curves", "--kind", "scores", "--arm", "ppo-clip", "--label", "ppo-clip=PPO", "--width", 4]
    result = cli("figures", "tiny", *asked, "--format", "svg", "--name", "ours", "--style", "neurips", "--out", "there")
    assert result.exit_code == 0, result.output
    assert {path.name for path in Path("there").iterdir()} == {
        *(f"ours-tiny-{kind}.{ending}" for kind in ("curves", "scores") for ending in ("svg", "csv")),
        "captions.md",
    }
    drawn = Path("there/ours-tiny-scores.svg").read_text()
    assert 'width="288pt"' in drawn  # four inches
    assert set(pd.read_csv("there/ours-tiny-curves.csv")["line"]) == {"ppo-clip"}
    assert cli("figures", "tiny", "--kind", "curves", "--x", "gradient-steps", "--out", "there").exit_code == 0
    steps, taken = (pd.read_csv(f"there/{name}-curves.csv") for name in ("ours-tiny", "tiny"))
    taken = taken[taken["line"] == "ppo-clip"]
    assert (steps["x"].iloc[-1], taken["x"].iloc[-1]) == (64, 4)  # 4 updates, a gradient step each
    for wrong, said in (
        (["--kind", "curves", "--x", "second"], "against steps, gradient_steps, seconds, not 'second'. Did you mean"),
        (["--kind", "curve"], "There is no kind 'curve' of figures. Did you mean 'curves'?"),
        (["--kind", "scores", "--arm", "ppo"], "has no arm 'ppo'. Did you mean 'ppo-clip'?"),
    ):
        refused = cli("figures", "tiny", *wrong)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny", "--label", "ppo-clip"), "--label takes OLD=NEW, such as ppo-clip=PPO, not 'ppo-clip'."),
        (("tiny", "--style", "slide"), "'slide' is not one of 'paper', 'slides', 'icml', 'jmlr', 'neurips'."),
        (("text", "--only", "learn"), "has no figure 'learn'. Did you mean 'learning'?"),
        (("nothing",), "no experiment that ran as 'nothing'"),
    ],
)
def test_bad_input_is_one_sentence(cli: Cli, suite: Path, arguments: tuple[str, ...], message: str) -> None:
    result = cli("figures", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert [line for line in result.stderr.splitlines() if not line.startswith("experiments read")] == [
        result.stderr.splitlines()[-1]
    ]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('"other"),', '"othr"),', "figure 'later' names 'othr', which is no experiment here. Did you mean 'other'?"),
        ('"later"', '"ratio"', "two figures are called 'ratio'"),
        ('Showpiece("ratio", "effective-ratio")', '"ratio"', "figures must be of type Showpiece, and 'ratio' is not"),
    ],
)
def test_a_suites_figures_are_checked_when_it_is_read(
    cli: Cli, suite: Path, before: str, after: str, message: str
) -> None:
    (suite / "suite.py").write_text(SUITE.replace(before, after))
    result = cli("figures", suite)
    assert result.exit_code == 2
    assert message in result.stderr


def test_where_nothing_can_be_drawn_the_status_says_so(cli: Cli, suite: Path) -> None:
    result = cli("figures", suite, "--only", "learning", "--only", "later")
    assert result.exit_code == 2
    assert f"error: No figure of {suite} can be drawn from results; `rlbench run` comes first" in result.stderr


def test_figures_find_the_runs_that_the_same_options_trained(cli: Cli, suite: Path) -> None:
    for file in ("first.py", "second.py"):  # one by one, and not as the suite that they are
        result = cli("run", suite / file, "--seeds", 1, "--set", "ppo-clip.gamma=0.9,0.95", "--workers", 0)
        assert result.exit_code == 0, result.output
    flags = "--set ppo-clip.gamma=0.9,0.95 --seeds 1"
    assert result.stdout.endswith(f"Next: rlbench report {suite / 'second.py'} {flags}\n")
    result = cli("figures", suite / "second.py", *flags.split())
    assert result.exit_code == 0, result.output
    result = cli("run", suite / "first.py", "--seeds", 1, "--workers", 0)
    result = cli("figures", suite, "--seeds", 1, "--only", "learning")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("(learning)\n")
