"""The report: self-contained, complete, honest about its runs, reproducible, and possible with poor data."""

from __future__ import annotations

import html.parser
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from urllib.parse import unquote

import matplotlib.pyplot as plt
import numpy as np
import pytest

from rlbench.analysis.report.claims import claim_sentence
from rlbench.analysis.report.experiment_page import page_html
from rlbench.analysis.report.figures import pictures, render
from rlbench.analysis.report.sentences import answer, sentence
from rlbench.analysis.report.table import write_tables
from rlbench.analysis.report.tables import all_tables
from rlbench.analysis.scores.results import Document
from rlbench.claims import Claim, digest
from rlbench.errors import RlbenchError
from rlbench.results import Results
from tests.analysis.synthetic import ENVIRONMENTS, experiment_document, make_tables, troubled_outcomes

FEW = ["ppo-clip", "reinforce"]
SOME = ("learning-curves-CartPole-v1", "scores-auc-CartPole-v1", "performance-profile")


@pytest.fixture(scope="module")
def troubled():
    return make_tables(steps=16_000, outcomes=troubled_outcomes())


@pytest.fixture(scope="module")
def out(troubled, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    Results(experiment_document(steps=16_000), troubled).report(folder, ["pdf"])
    return folder


class Page(html.parser.HTMLParser):
    """The tags, links and visible text of a page; `unclosed` must be empty at the end."""

    VOID = ("meta", "img", "link", "br", "hr", "input")

    def __init__(self, text):
        super().__init__()
        self.tags, self.unclosed, self.words, self.images = [], [], [], []
        self.links = []
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.unclosed.append(tag)
        if tag == "img":
            self.images.append(attributes)
        if "href" in attributes:
            self.links.append(attributes["href"])

    def handle_endtag(self, tag):
        assert self.unclosed.pop() == tag

    def handle_data(self, data):
        if self.unclosed[-1:] not in (["style"], ["script"]):
            self.words.append(data)


def words_of(tables, document):
    """Return the page without its figures, which take long to draw."""
    results = Results(document, tables)
    return Page(page_html(results, all_tables(results), []))


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_page_is_well_formed_and_self_contained(out):
    text = (out / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.unclosed == []
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r'"data:[^"]+"', "", text))
    assert {"link", "iframe"}.isdisjoint(page.tags)
    assert page.tags.count("script") == text.count("<script>") + 1 == 2  # the data of the runs, and what shows them
    assert all(image["src"].startswith("data:image/svg+xml,<svg ") for image in page.images)
    assert all(len(image["alt"]) > 30 for image in page.images)
    for link in page.links:
        assert link.startswith("#") or (out / link).is_file(), link


def corners(path):
    """Return the absolute ends of the lines of an SVG path of moves and lines."""
    place, found = np.zeros(2), []
    for letter, numbers in re.findall(r"([MLlz])([^MLlz]*)", path):
        for pair in np.reshape([float(one) for one in re.findall(r"-?[\d.]+", numbers)], (-1, 2)):
            place = place + pair if letter == "l" else pair
            found.append(place)
    return np.array(found)


def test_drawings_on_the_page_look_like_their_files(out):
    page, compared = Page((out / "report.html").read_text(encoding="utf-8")), 0
    for image in page.images:
        own = ElementTree.fromstring(unquote(image["src"].partition(",")[2]))
        texts = ["".join(one.itertext()) for one in own.iter("{http://www.w3.org/2000/svg}text")]
        for file in out.glob("figures/*.svg"):
            whole = ElementTree.parse(file).getroot()
            if ["".join(one.itertext()) for one in whole.iter("{http://www.w3.org/2000/svg}text")] != texts:
                continue
            tags = [[one for one in root.iter() if one.tag.endswith(("path", "use", "text"))] for root in (own, whole)]
            assert len(tags[0]) == len(tags[1])
            for short, long in zip(*tags, strict=True):
                assert short.get("x", "") == "" or abs(float(short.get("x")) - float(long.get("x"))) <= 0.051
                if not re.search("[A-KN-Y]", long.get("d", "")):
                    assert np.allclose(corners(short.get("d", "")), corners(long.get("d", "")), atol=0.051)
            compared += 1
    assert compared >= len(page.images)
    assert sum(len(image["src"]) for image in page.images) < 0.65 * sum(
        file.stat().st_size for file in out.glob("figures/*.svg")
    )


def test_page_opens_with_the_answer(out, troubled):
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    results = Results(experiment_document(steps=16_000), troubled)
    assert page.text.index("Does PPO beat REINFORCE") < page.text.index("Over both environments")
    for one in results.comparisons:
        assert " ".join(sentence(one).split()) in page.text
    order = ["Scores and verdicts", "Learning curves", "Runs that did not finish", "How the numbers were computed"]
    places = [page.text.rindex(title) for title in order]
    assert places == sorted(places)


def test_page_accounts_for_every_run(out):
    text = Page((out / "report.html").read_text(encoding="utf-8")).text
    assert "1 failed, 2 diverged, 1 missing of 100 planned runs" in text
    assert "the environment raised ZeroDivisionError in step" in text
    assert "not run yet" in text


def test_page_shows_the_cause_of_failures_with_the_escaped_traceback_folded_in(out):
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Why runs did not finish" in page
    assert "<summary>Traceback of trpo on Acrobot-v1, seeds 0: the environment raised ZeroDivisionError" in page
    assert "<pre>Traceback (most recent call last):\n  &lt;motor&gt; &amp; co\nZeroDivisionError</pre>" in page
    assert "<motor>" not in page


def test_page_says_what_intervals_mean_and_what_was_run(out):
    text = Page((out / "report.html").read_text(encoding="utf-8")).text
    for words in (
        "95 %",
        "10,000",
        "bootstrap",
        "from run to run",
        "Wilson",
        "seed 0",
        "16,000 environment steps",
        "0 to 9",
    ):
        assert words in text, words


def test_every_figure_is_there_in_the_formats_that_were_asked_for(out):
    kinds = {"svg": b"<?xml", "pdf": b"%PDF"}
    assert {path.suffix[1:] for path in (out / "figures").iterdir()} == set(kinds)
    names = {path.stem for path in (out / "figures").iterdir()}
    assert {"learning-curves-CartPole-v1", "learning-curves-all", "scores-auc-Acrobot-v1", "aggregate-auc"} <= names
    assert {"performance-profile", "improvement", "difference-CartPole-v1", "diagnostics-CartPole-v1"} <= names
    for name in names:
        for kind, magic in kinds.items():
            path = out / "figures" / f"{name}.{kind}"
            assert path.read_bytes().startswith(magic)
        drawn = (out / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        assert all(word in drawn for word in ("planned", "finished", "failed", "used")), name


def test_same_runs_and_seed_give_the_same_bytes_whatever_the_order_of_the_rows(tmp_path):
    tables = make_tables(FEW, ["CartPole-v1"], seeds=4, steps=8_000)
    document = experiment_document(FEW, ["CartPole-v1"], seeds=4, steps=8_000)
    shuffled = tables._replace(
        runs=tables.runs.sample(frac=1, random_state=1),
        episodes=tables.episodes.sample(frac=1, random_state=1),
    )
    for name, one in (("a", tables), ("b", shuffled)):
        folder = tmp_path / name
        folder.mkdir()
        results = Results(document, one, seed=3)
        drawn = [picture for picture in pictures(results) if picture.name in SOME]
        rendered = render(drawn, folder, ["pdf", "png"])
        write_tables(all_tables(results), folder)
        (folder / "page.html").write_text(page_html(results, all_tables(results), rendered), encoding="utf-8")
    one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert len(one) == 3 * len(SOME) + 3 * len(all_tables(results)) + 1
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


def test_report_leaves_no_figure_open(out):
    assert plt.get_fignums() == []


def test_names_are_escaped(tmp_path):
    evil = "<script>alert('x')</script>"
    tables = make_tables([evil, "reinforce"], ["CartPole-v1"], seeds=2, steps=8_000)
    document = experiment_document([evil, "reinforce"], ["CartPole-v1"], seeds=2, steps=8_000)
    document |= {"name": evil, "question": f"Is {evil} good?"}
    results = Results(document, tables)
    shown = [replace(picture, uri="data:,") for picture in pictures(results)]
    text = page_html(results, all_tables(results), shown)
    assert "<script>alert" not in text
    assert "alert('x')" not in text
    assert evil in Page(text).text
    render(shown[:1], tmp_path, [])
    assert "<script" not in (tmp_path / f"{shown[0].name}.svg").read_text(encoding="utf-8")


def all_of(status):
    return {(arm, environment, seed): status for arm in FEW for environment in ENVIRONMENTS for seed in range(2)}


@pytest.mark.parametrize(
    ("data", "document", "said"),
    [
        (
            {"arms": ["ppo-clip"], "environments": ["CartPole-v1"], "seeds": 1},
            {"baseline": "ppo-clip"},
            "one arm only, so there is nothing to compare",
        ),
        ({"arms": FEW, "environments": ["CartPole-v1"], "seeds": 2}, {"baseline": None}, "names no baseline"),
        ({"arms": FEW, "seeds": 2, "outcomes": all_of("failed")}, {}, "cannot be compared with reinforce"),
        ({"arms": FEW, "seeds": 2, "outcomes": all_of("missing")}, {}, "8 missing of 8 planned runs"),
        ({"arms": FEW, "environments": ["Odd-v0"], "seeds": 2}, {}, "No reference returns are known for Odd-v0"),
    ],
    ids=["one run", "no baseline", "all failed", "all missing", "unknown environment"],
)
def test_poor_data_still_gives_a_report(data, document, said):
    tables = make_tables(steps=8_000, **data)
    given = experiment_document(data["arms"], data.get("environments", ENVIRONMENTS), seeds=data["seeds"])
    page = words_of(tables, given | document)
    assert said in page.text
    assert page.unclosed == []
    assert "nan" not in re.sub(r"\w+nan\w*|\w*nan\w+", "", page.text)


def test_what_would_change_an_answer_is_why_it_is_open():
    def change(seeds):
        results = Results(experiment_document(FEW, ENVIRONMENTS[:1], seeds=seeds), make_tables(FEW, seeds=seeds))
        (text,) = answer(results)["change"]
        return text, results.comparisons[0]

    few, comparison = change(3)
    assert comparison.difference.low > 0  # the interval says more than the test can with so few runs
    assert "With so few runs p cannot fall below 0.1; 4 per arm are needed." in few
    assert "stays" in change(10)[0]


@pytest.mark.parametrize(("baseline", "answered"), [("reinforce", True), (None, False)])
def test_every_figure_is_shown_once_with_an_answer_and_without(baseline, answered):
    document = experiment_document(FEW, ENVIRONMENTS, seeds=2) | {"baseline": baseline}
    results = Results(document, make_tables(FEW, ENVIRONMENTS, seeds=2, steps=8_000))
    shown = [replace(picture, uri=f"data:,{picture.name}") for picture in pictures(results)]
    text = page_html(results, all_tables(results), shown)
    assert ('class="answer"' in text) == answered
    assert sorted(re.findall(r'src="data:,([^"]+)"', text)) == sorted(picture.name for picture in shown)


def test_a_mean_over_environments_of_which_one_lacks_runs_has_a_report():
    gone = {("ppo-clip", "Acrobot-v1", seed): "failed" for seed in range(4)}
    claim = Claim("PPO learns faster", ["ppo-clip", "reinforce"], "greater", smallest_effect=0.05, over="mean")
    document = experiment_document(FEW, ENVIRONMENTS, seeds=4) | {"claims": [claim.document()]}
    for outcomes, shown in (({}, True), (gone, False)):
        text = words_of(make_tables(FEW, ENVIRONMENTS, seeds=4, steps=8_000, outcomes=outcomes), document).text
        assert ("On each environment: CartPole-v1" in text) == shown


def test_claims_have_a_table_with_their_numbers_and_the_page_says_when_they_were_made():
    claims = [
        Claim("PPO beats REINFORCE", ["ppo-clip", "reinforce"], "greater", smallest_effect=0.05),
        Claim("PPO <moves> less", ["ppo-clip", "reinforce"], "less", "kl:mean", 0.001),
        Claim("They are the same", ["ppo-clip", "reinforce"], "equivalent", "final_normalised", 0.05),
    ]
    documents = [one.document() for one in claims]
    document = experiment_document(FEW, seeds=10, steps=8_000) | {"claims": documents}
    counts = {"stored": 0, "planned": 40, "claims": documents}
    register = [{"sha256": digest(claims), "time": "2025-01-01T00:00:00+00:00"} | counts]
    tables = make_tables(FEW, seeds=10, steps=8_000)
    page = words_of(tables, Document.read(document, register=register))
    results = Results(document, tables)
    assert page.unclosed == []
    assert (
        "3 claims were written down at 2025-01-01 00:00:00 UTC, each before any of its own runs was stored."
        in page.text
    )
    assert page.text.count("Written down at 2025-01-01 00:00:00 UTC, before any of its 40 runs was stored;") == 3
    assert f"SHA-256 of all claims together: {digest(claims)}." in page.text
    assert [one.verdict for one in results.verdicts][:2] == ["supported", "refuted"]
    for verdict in results.verdicts:
        assert " ".join(claim_sentence(verdict).split()) in page.text
    (table,) = (one for one in all_tables(results) if one.name == "claims")
    assert len(table.data) == 6
    assert {"effect", "effect_low", "p", "size", "needed", "detectable", "part_verdict"} <= set(table.data)
    assert table.shown["Claimed"].tolist()[::2] == ["more than 0.05", "less than −0.001", "within ±0.05"]
    late = words_of(tables, document)
    assert late.text.count("Not written down before the runs: any claim.") == 2  # below the claims, and as a warning


def test_mixed_devices_are_flagged_and_one_device_is_not():
    tables = make_tables(FEW, ["CartPole-v1"], seeds=2, steps=8_000)
    document = experiment_document(FEW, ["CartPole-v1"], seeds=2)
    assert "different devices" not in words_of(tables, document).text
    tables.runs.loc[0, "device"] = "cuda (NVIDIA H100)"
    text = words_of(tables, document).text
    assert "trained on different devices, which round differently: cpu, cuda (NVIDIA H100)." in text


def test_mixed_and_uncommitted_code_is_flagged():
    tables = make_tables(FEW, ["CartPole-v1"], seeds=2, steps=8_000)
    tables.runs.loc[0, "commit"] = "fedcba9876543210"
    tables.runs.loc[1, "dirty"] = True
    text = words_of(tables, experiment_document(FEW, ["CartPole-v1"], seeds=2)).text
    assert "2 different versions of the code: 0123456789, fedcba9876" in text
    assert "1 of 4 runs were made with uncommitted changes" in text


def test_a_second_report_removes_the_figures_that_are_no_longer_true(tmp_path):
    (tmp_path / "figures").mkdir()
    old = tmp_path / "figures" / "scores-auc-Acrobot-v1.png"
    old.write_text("old")
    others = [tmp_path / "figures" / name for name in ("notes.txt", "not-a-png")]
    for other in others:
        other.write_text("mine")
    tables = make_tables(["ppo-clip"], ["CartPole-v1"], seeds=1, steps=8_000)
    path = Results(experiment_document(["ppo-clip"], baseline=None), tables).report(tmp_path)
    assert not old.exists()
    assert all(other.exists() for other in others)
    assert Page(path.read_text(encoding="utf-8")).unclosed == []


def test_nothing_planned_and_nowhere_to_write_are_one_sentence(tmp_path):
    tables = make_tables(["ppo-clip"], ["CartPole-v1"], seeds=1, steps=8_000)
    with pytest.raises(RlbenchError, match="plans no run"):
        Results({}, tables._replace(runs=tables.runs.iloc[:0])).report(tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RlbenchError, match="Cannot write the report"):
        Results({}, tables).report(tmp_path / "file")


@pytest.mark.parametrize(
    ("change", "drawn"),
    [
        (lambda folder, tables: ((), tables), False),
        (lambda folder, tables: (["png"], tables), True),
        (lambda folder, tables: ((folder / "figures/learning-curves-CartPole-v1.svg").unlink() or (), tables), True),
        (lambda folder, tables: ((folder / "report.html").write_text("mine") and (), tables), True),
        (lambda folder, tables: ((), tables._replace(episodes=tables.episodes.iloc[1:])), True),
        (lambda folder, tables: ((), tables._replace(runs=tables.runs.assign(seconds=9.0))), True),
    ],
    ids=["nothing", "kinds", "a figure is gone", "another page", "an episode less", "a column of the runs"],
)
def test_a_report_is_drawn_again_where_something_has_changed(tmp_path, monkeypatch, change, drawn):
    from rlbench.analysis.report import experiment_page

    tables = make_tables(["ppo-clip"], ["CartPole-v1"], seeds=2, steps=8_000)
    document = experiment_document(["ppo-clip"], baseline=None)
    Results(document, tables).report(tmp_path)
    kinds, tables = change(tmp_path, tables)
    calls = []
    monkeypatch.setattr(experiment_page, "write_report", lambda *given: calls.append(given))
    Results(document, tables).report(tmp_path, kinds)
    assert bool(calls) == drawn
