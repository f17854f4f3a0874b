"""Everything that the README and the pages of the documentation show works: their Python as it stands, their commands
with a smaller budget; the site is built of them, and its links lead somewhere.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib.pyplot
import pandas as pd
import pytest
from click.testing import CliRunner

import rlbench
from rlbench import registry
from rlbench.analysis.scores.scores import ALL
from rlbench.analysis.stats.power import Spread, seeds_needed
from rlbench.checks import check_algorithm
from rlbench.claims import DIRECTIONS
from rlbench.cli import main
from rlbench.study.plan import make_plan
from rlbench.study.suites import override
from rlbench.suite import Showpiece
from tests.conftest import PHONE, Opened

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}
BLOCK = re.compile(r"^```(\w*)(?: title=\"(.+?)\")?\n(.*?)^```$", re.M | re.S)
ELSEWHERE = ("cluster.md", "formats.md", "mujoco.md", "policies.md", "store.md")  # whose blocks have tests of their own
RUN = [name for name, text in PAGES.items() if name not in ELSEWHERE and re.search("^```(python|console)", text, re.M)]
SMALL = {
    "compare": ["--seeds", "2", "--steps", "4096", "--workers", "0"],
    "run": ["--seeds", "2", "--steps", "4096", "--workers", "0"],
    "tune": ["--trials", "4", "--fresh", "2", "--steps", "4096", "--workers", "0"],
    "report": ["--seeds", "2", "--steps", "4096"],
    "figures": [],
    "evaluate": ["--episodes", "3"],
    "watch": ["--episodes", "1"],
}


def test_blocks_are_of_kinds_that_are_tried() -> None:
    kinds = {kind for text in PAGES.values() for kind, *_ in BLOCK.findall(text)}
    assert kinds <= {"python", "console", "toml", "bash", ""}
    for name, text in PAGES.items():
        assert len(re.findall("^```", text, re.M)) == 2 * len(BLOCK.findall(text)), name


@pytest.mark.parametrize("name", RUN)
def test_a_page_does_what_it_shows(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks in their order, in an empty folder, one after the other as somebody who reads would run them."""
    monkeypatch.chdir(tmp_path)
    matplotlib.use("agg")
    names: dict[str, Any] = {}
    for kind, file, text in BLOCK.findall(PAGES[name]):
        if file:
            (tmp_path / file).write_text(text, encoding="utf-8")
        if kind == "python":
            names.pop("EXPERIMENT", None)
            exec(text, names)
            if "EXPERIMENT" in names:
                make_plan(names["EXPERIMENT"])
        for line in text.splitlines() if kind == "console" else ():
            _run(line, tmp_path)
    matplotlib.pyplot.close("all")


def _run(line: str, folder: Path) -> None:
    assert line.startswith("$ rlbench ")
    words = shlex.split(re.sub(r"--seeds 10 --steps 100000|--seeds 5 --steps 50000|--steps 50000", "", line))[2:]
    if words[0] == "watch" and importlib.util.find_spec("imageio_ffmpeg") is None:
        return
    if "sb3" in line:
        pytest.importorskip("stable_baselines3")
    if "experiments/lecture" in words and not (folder / "experiments").exists():
        _small_lecture(folder / "experiments" / "lecture")
    words += SMALL.get(words[0], [])
    if re.search(r"my-variant|\.py", line):  # what a file brings would stay known to the other tests
        ended = subprocess.run([sys.executable, "-m", "rlbench", *words], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, (line, ended.stdout, ended.stderr)
        return
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, (line, result.output, result.exception)


def _small_lecture(suite: Path) -> None:
    suite.mkdir(parents=True)
    for name in ("claim_21_shared_network.py", "lecture_arms.py"):
        text = (ROOT / "experiments" / "lecture" / name).read_text(encoding="utf-8")
        text = re.sub(r"^TASKS = .*$", "TASKS = CONTINUOUS[:1]", text, flags=re.M)
        (suite / name).write_text(text, encoding="utf-8")


def test_the_first_command_works_in_a_shell(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = ["rlbench", "compare", "ppo-clip", "reinforce", "--env", "CartPole-v1", *SMALL["compare"][:4]]
    ended = subprocess.run(words, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "Report: results/compare-ppo-clip-reinforce-on-CartPole-v1/report.html" in ended.stdout


@pytest.mark.parametrize("script", sorted(ROOT.glob("docs/notebooks/*.py")), ids=lambda path: path.stem)
def test_a_notebook_runs(script: Path, tmp_path: Path) -> None:
    """All cells, in an empty folder, with the numbers of runs that it shows."""
    if script.stem == "ppo_vs_reinforce":
        pytest.importorskip("pygame")  # which draws the pole
    environment = {**os.environ, "MPLBACKEND": "agg"}
    ended = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "FAIL" not in ended.stdout


def test_the_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    shown = [target for text in PAGES.values() for target in re.findall(r"make ([\w-]+)\b(?=`|    |$)", text, re.M)]
    assert {"lecture", "test", "claims", "docs"} <= {*shown}
    for target in shown:
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize(("name", "text"), [("variant.md", "class AsymmetricClip"), ("networks.md", "class Gated")])
def test_the_algorithms_shown_keep_the_contract(name: str, text: str, tmp_path: Path) -> None:
    (block,) = (block for _, _, block in BLOCK.findall(PAGES[name]) if text in block)
    file = tmp_path / f"{name.partition('.')[0]}_shown.py"
    file.write_text(block, encoding="utf-8")
    (cls,) = registry.add_file(file)
    assert [result for result in check_algorithm(cls) if not result.passed] == []


def test_lists_are_whole() -> None:
    """What a page lists of names that the program has."""
    from rlbench.analysis.draw.figures import KINDS, WITHOUT_RUNS

    assert all(f"`{direction}`" in PAGES["experiments.md"] for direction in DIRECTIONS)
    assert all(f" {kind} " in str(Showpiece.__doc__) for kind in (*KINDS, WITHOUT_RUNS))
    assert all(f"`{name}`" in PAGES["variant.md"] for name in ("sb3-ppo", "sb3-a2c", "sb3-trpo"))
    reference = set(re.findall(r"^::: rlbench\.[\w.]*?(\w+)$", PAGES["reference.md"], re.M))
    of_data = {"Estimates", "Params", "Problem", "Samples", "Stats", "Trajectory"}
    assert {*rlbench.__all__} - of_data <= reference


def test_the_seeds_that_are_said_to_find_a_difference_do() -> None:
    rows = re.findall(r"^\| ([\d.]+) \| (\d+) \|$", PAGES["questions.md"], re.M)
    assert len(rows) == 4
    for effect, seeds in rows:
        assert seeds_needed(Spread((1.0,), (1.0,)), float(effect)).n == int(seeds), effect


# The site


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.ids |= {known["id"]} if "id" in known else set()
        self.links += [known[name] for name in ("href", "src") if name in known]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, without a warning."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    site = tmp_path_factory.mktemp("docs") / "site"
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)]
    ended = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert ended.returncode == 0, ended.stderr
    return site


def test_links_of_the_site_lead_somewhere(site: Path) -> None:
    pages = {path: _Links() for path in site.rglob("*.html")}
    for path, parsed in pages.items():
        parsed.feed(path.read_text(encoding="utf-8"))
    assert {path.stem for path in site.glob("algorithms/*.html")} >= {"ppo-clip", "trpo", "reinforce", "sb3-ppo"}
    assert len(pages) > 40
    for path, parsed in pages.items():
        for link in parsed.links:
            if re.match("[a-z]+:", link) or path.name == "404.html":
                assert not link.startswith("http") or "fonts." not in link
                continue
            target, _, anchor = link.partition("#")
            found = (path.parent / target).resolve() if target else path
            assert found.exists(), (path.name, link)
            if anchor and found in pages and not anchor.startswith("__"):
                assert anchor in pages[found].ids, (path.name, link)
    search = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    assert "undecidable" in search
    assert 'src="https' not in (site / "index.html").read_text(encoding="utf-8")  # nothing is fetched


def test_the_site_searches_and_fits_a_phone_in_a_folder_without_network(site: Path, opened: Opened) -> None:
    page = opened(site / "index.html")
    page.keyboard.press("s")
    page.keyboard.type("undecidable")
    page.locator(".md-search-result__item").first.wait_for()
    for name in ("index", "algorithms/ppo-clip", "lecture", "reference", "notebooks/own_variant"):
        page = opened(site / f"{name}.html", viewport=PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
    assert page.locator("img").evaluate_all("images => images.every(image => image.naturalWidth > 0)")


def test_every_algorithm_has_its_equation_its_curves_and_what_differs_from_its_paper(site: Path) -> None:
    for path in sorted(site.glob("algorithms/*.html")):
        name, text = path.stem, path.read_text(encoding="utf-8")
        assert "What differs from the paper" in text
        assert ("<math " in text) == (name != "random" and not name.startswith("sb3-")), name
        assert ("How it learns at its defaults" in text) == (not name.startswith("sb3-")), name


# What is said of results


def test_the_sentence_for_a_paper_is_that_of_the_lecture() -> None:
    with (RESULTS / "lecture" / "verdicts.csv").open(encoding="utf-8", newline="") as file:
        row = next(row for row in csv.DictReader(file) if row["id"] == "4a")
    numbers = [f"{float(row[key]):.2f}" for key in ("effect", "effect_low", "effect_high", "smallest_effect")]
    text = " ".join(PAGES["mistakes.md"].replace("> ", "").split())
    assert f"exceeds REINFORCE's by {numbers[0]} on average (95 % {row['method']} interval {numbers[1]} to" in text
    assert (
        f"{numbers[2]}; {float(row['n_arm']):.0f} training runs each; p = {row['p']} for a difference of at most"
        in text
    )
    assert f"at most {numbers[3]}, permutation test" in text


def test_the_table_of_the_search_is_that_of_its_report() -> None:
    with (RESULTS / "tuning" / "tables" / "comparisons.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["environment"] == ALL and row["metric"] == "auc"]
    known = {row["arm"]: row for row in rows}
    best = f"{float(rows[0]['mean_baseline']):.2f}"
    for name in ("reinforce", "trpo", "ppo-penalty"):
        tuned = known[f"{name}, tuned"]
        numbers = [f"{float(tuned[key]):.2f}" for key in ("difference", "difference_low", "difference_high")]
        means = f"{float(known[name]['mean_arm']):.2f} | {float(tuned['mean_arm']):.2f}"
        assert f"| {name} | {means} | {numbers[0]} [{numbers[1]}, {numbers[2]}] |" in PAGES["tuning.md"]
    assert f"| ppo-clip | {float(known['ppo-clip']['mean_arm']):.2f} | {best} | |" in PAGES["tuning.md"]
    for name in ("reinforce", "trpo", "ppo-penalty", "ppo-clip"):
        found = json.loads((ROOT / "rlbench" / "tuned" / f"{name}.json").read_text(encoding="utf-8"))
        assert found.keys() == {"CartPole-v1", "Acrobot-v1", "Pendulum-v1"}
        assert {entry["experiment"] for entry in found.values()} == {"tuning"}
        plan = make_plan(override(rlbench.Experiment("x", [name], [*found], 1, 50_000), tuned=ROOT))
        for cell in plan.cells:
            given = found[cell.environment.label]["settings"]
            assert {key: getattr(cell.algorithm, key) for key in given} == given


def test_what_is_said_of_peers_is_what_was_published() -> None:
    scores = pd.read_csv(RESULTS / "fidelity" / "tables" / "scores.csv")
    means = scores.groupby(["environment", "arm"])["auc"].agg(["mean", "std"]).round(0)
    text = " ".join(PAGES["numbers.md"].split())
    said = (
        "training is {} ({}), against",
        "against {} ({}) with PyTorch's",
        "theirs reaches {} ({})",
        "theirs {} ({})",
    )
    a2c = [("CartPole-v1", f"A2C, {arm}") for arm in ("rmsprop-tf", "rlbench", "SB3")]
    for words, name in zip(said, [*a2c, ("Acrobot-v1", "PPO, SB3")], strict=True):
        assert words.format(*(f"{means.loc[name][key]:.0f}" for key in ("mean", "std"))) in text
    ours = scores[(scores["environment"] == "Acrobot-v1") & (scores["arm"] == "PPO, rlbench")]
    assert ((ours["auc"] < -499).sum(), len(ours)) == (3, 10)
    parts = pd.read_csv(RESULTS / "fidelity" / "tables" / "claims.csv")
    larger = pd.read_csv(RESULTS / "fidelity" / "tables" / "claims-larger-tasks.csv")
    assert (larger["part_verdict"] == "inconclusive").all()
    assert ((larger["effect_low"] < 0) & (larger["effect_high"] > 0) & (larger["n_arm"] == 3)).all()
    alike = parts[parts["part_verdict"] == "supported"]
    assert not (parts["part_verdict"] == "refuted").any()
    assert {(arm, place) for arm, place in zip(alike["arm"], alike["environment"], strict=True)} == {
        (f"{arm}, rlbench", place) for arm in ("PPO", "TRPO") for place in ("CartPole-v1", "Pendulum-v1")
    }


def test_what_is_said_of_variants_is_what_was_published() -> None:
    rows = csv.DictReader((RESULTS / "variants" / "verdicts.csv").read_text("utf-8").splitlines())
    found = Counter(row["verdict"] for row in rows)
    text = " ".join(PAGES["variant.md"].split())
    assert f"of {found.total()} variants whose papers" in text
    assert f"{found['supported']} are better by 0.05" in text
    assert f"for {found['refuted']} that is refuted and {found['inconclusive']} stay open" in text


def test_the_verdicts_on_mujoco_are_those_published() -> None:
    small, large = (
        {row["id"]: row["verdict"] for row in csv.DictReader((RESULTS / name).read_text("utf-8").splitlines())}
        for name in ("lecture/verdicts.csv", "lecture_mujoco/verdicts.csv")
    )
    found, changed = Counter(large.values()), [name for name in large if large[name] != small[name]]
    assert not [name for name in changed if {small[name], large[name]} == {"supported", "refuted"}]
    said = (
        f"tries {len(large)} of the claims once more, on HalfCheetah and Hopper with 300,000 steps and ten seeds. "
        f"There {found['supported']} are supported, {found['refuted']} refuted and {found['inconclusive']} "
        f"inconclusive; {len(changed)} came out otherwise"
    )
    assert said in " ".join(PAGES["README.md"].split())
    twice = f"Of {len(large)} claims of [the lecture](lecture.md), {len(changed)} came out otherwise"
    assert twice in " ".join(PAGES["mistakes.md"].split())


def test_the_verdicts_shown_are_those_published() -> None:
    published = RESULTS / "lecture" / "verdicts.csv"
    with published.open(encoding="utf-8", newline="") as file:
        verdicts = {row["id"]: row for row in csv.DictReader(file)}
    text = PAGES["README.md"]
    counts = re.search(
        r"of (\d+) claims, (\d+) are supported, (\d+) refuted and (\d+) inconclusive;\s(\d+) cannot be decided", text
    )
    found = Counter(row["verdict"] for row in verdicts.values())
    names = ("supported", "refuted", "inconclusive", "undecidable")
    assert counts is not None
    assert [int(one) for one in counts.groups()] == [len(verdicts), *(found[name] for name in names)]
    shown = re.findall(r"^\| (\d+[a-z]?) \| (.+?) \| \*\*(\w+)\*\* \|", text, re.M)
    assert len(shown) == 10
    for number, statement, verdict in shown:
        assert (verdicts[number]["statement"], verdicts[number]["verdict"]) == (statement, verdict)
