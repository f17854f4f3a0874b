"""Reports in a real browser: no script errors, everything reachable, readable, printable, complete without scripts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rlbench.analysis.report.suite_page import write_suite_report
from rlbench.claims import Claim
from rlbench.results import Results
from tests.analysis.suite.made import made
from tests.analysis.synthetic import experiment_document, make_tables
from tests.conftest import DESK, PHONE, Opened

KINDS = ("experiment", "suite")
ARMS = ["ppo-clip", "reinforce", "trpo"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    claims = [
        Claim("PPO beats REINFORCE", ["ppo-clip", "reinforce"], "greater", smallest_effect=0.05),
        Claim("They are the same", ["ppo-clip", "trpo"], "equivalent", "final_normalised", 0.05),
    ]
    outcomes = {("trpo", "Acrobot-v1", 0): "failed", ("ppo-clip", "CartPole-v1", 1): "diverged"}
    document = experiment_document(ARMS, seeds=5, steps=8_000) | {"claims": [claim.document() for claim in claims]}
    Results(document, make_tables(ARMS, seeds=5, steps=8_000, outcomes=outcomes)).report(folder / "experiment")
    whole = made(seeds=6)
    write_suite_report(replace(whole, suite=replace(whole.suite, take_home=["10", "22a"])), folder / "suite")
    return {kind: folder / kind / "report.html" for kind in KINDS}


@pytest.fixture
def shown(pages: dict[str, Path], opened: Opened) -> Opened:
    return lambda kind, **options: opened(pages[kind], **options)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", KINDS)
def test_pages_are_accessible(shown: Opened, kind: str, scheme: str) -> None:
    """By the rules of axe-core, among them enough contrast, names for all controls, and an order of headings."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = shown(kind, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    found = axe.run(page).response["violations"]
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_screen_has_the_answer_and_a_picture(shown: Opened, kind: str) -> None:
    page = shown(kind)
    for part in (".answer", "h1", *(["section.answer img", ".verdicts .badge"] if kind == "experiment" else [])):
        box = page.locator(part).first.bounding_box()
        assert 0 <= box["y"] < box["y"] + box["height"] < 1.1 * DESK["height"], part


@pytest.mark.parametrize("kind", KINDS)
def test_a_phone_shows_the_page_without_scrolling_sideways(shown: Opened, kind: str) -> None:
    page = shown(kind, viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("h1").bounding_box()["width"] <= PHONE["width"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_heading_sorts_its_table_by_numbers(shown: Opened, kind: str) -> None:
    page = shown(kind)
    table = page.locator("table").filter(has=page.get_by_role("button", name="n" if kind == "suite" else "Runs")).first
    column = 4 if kind == "suite" else 3
    heading = table.locator("thead th").nth(column)
    cells = f"(table) => [...table.tBodies[0].rows].map(row => row.cells[{column}].textContent.trim())"
    before = table.evaluate(cells)
    for order, down in (("ascending", False), ("descending", True)):
        heading.get_by_role("button").press("Enter")
        assert heading.get_attribute("aria-sort") == order
        after = table.evaluate(cells)
        assert sorted(after) == sorted(before)
        values = [float(one.split(" ")[0].replace("−", "-")) for one in after if one[:1] in "−0123456789"]
        assert len(values) > 3
        assert values == sorted(values, reverse=down)


def test_a_long_table_is_filtered_by_words(shown: Opened) -> None:
    page = shown("experiment")
    page.locator("details", has_text="Scores of every run").locator("summary").click()
    page.get_by_role("searchbox", name="Scores of every run").fill("trpo acrobot")
    rows = page.locator("table", has=page.get_by_text("Scores of every run")).locator("tbody tr")
    assert rows.filter(visible=True).count() == 5
    assert rows.count() == 30
    assert page.get_by_text("5 of 30 shown").is_visible()


def test_claims_are_filtered_by_verdict_and_words(shown: Opened) -> None:
    page = shown("suite")
    rows = page.locator("table.claims tbody tr")
    whole = rows.filter(visible=True).count()
    button = page.locator("#filter").get_by_role("button", name="supported")
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert 0 < rows.filter(visible=True).count() < whole
    assert set(rows.filter(visible=True).evaluate_all("rows => rows.map(row => row.dataset.verdict)")) == {"supported"}
    page.locator("#filter").get_by_role("button", name="All").click()
    page.locator("#filter input").fill("no such words")
    assert rows.filter(visible=True).count() == 0


def test_runs_are_looked_at_with_the_pointer_and_the_keys(shown: Opened) -> None:
    page = shown("experiment")
    explorer = page.locator("#explore")
    lines, said, chart = explorer.locator("svg path"), explorer.locator("output"), explorer.locator("svg")
    assert lines.count() == 15
    assert lines.and_(explorer.locator("[stroke-dasharray='1 3']")).count() == 1  # it diverged
    chart.hover()
    assert "seed" in said.inner_text()
    assert explorer.locator("path.chosen").count() == 1
    chart.focus()
    before = said.inner_text()
    page.keyboard.press("ArrowDown")
    after = said.inner_text()
    assert before != after
    page.keyboard.press("ArrowLeft")
    assert said.inner_text() not in (before, after)
    for cost in ("gradient steps", "seconds"):
        explorer.locator("select").last.select_option(cost)
        assert chart.get_by_text(cost, exact=True).is_visible()
    explorer.get_by_role("button", name="trpo").click()
    assert lines.count() == 10
    explorer.locator("select").first.select_option("Acrobot-v1")
    assert lines.count() == 10
    chart.focus()
    page.keyboard.press("ArrowDown")
    assert said.inner_text().endswith(" seconds")


def test_a_suite_shows_the_runs_behind_the_first_claim_to_take_home(shown: Opened) -> None:
    explorer = shown("suite").locator("#explore")
    assert explorer.get_by_role("heading").inner_text() == "Every run: PPO beats REINFORCE"
    assert explorer.locator("svg path").count() == 12
    explorer.get_by_role("button", name="reinforce").click()
    assert explorer.locator("svg path").count() == 6


@pytest.mark.parametrize("kind", KINDS)
def test_every_control_is_reached_by_the_tabulator(shown: Opened, kind: str) -> None:
    page = shown(kind)
    controls = "a[href], button, input, select, summary, [tabindex='0']"
    wanted = page.locator(controls).filter(visible=True).count()
    reached = set()
    for _ in range(wanted + 20):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(reached - {page.evaluate("[...document.querySelectorAll('*')].indexOf(document.body)")}) >= wanted


@pytest.mark.parametrize("kind", KINDS)
def test_links_lead_somewhere(shown: Opened, pages: dict[str, Path], kind: str) -> None:
    page = shown(kind)
    links = page.locator("a[href]").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert len(links) > 20
    for link in set(links):
        if link.startswith("#"):
            assert page.evaluate("id => document.getElementById(id) !== null", link[1:]), link
        else:
            assert (pages[kind].parent / link).is_file(), link


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_complete_without_scripts(shown: Opened, kind: str) -> None:
    with_scripts, without = shown(kind), shown(kind, java_script_enabled=False)
    for part in ("img", "table", "tbody tr", "h2", "section", "details"):
        assert without.locator(part).count() == with_scripts.locator(part).count() > 0, part
    assert without.locator("#explore, #filter").filter(visible=True).count() == 0
    assert without.locator("tbody tr[hidden]").count() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_it_prints_everything_and_no_control(shown: Opened, kind: str, tmp_path: Path) -> None:
    page = shown(kind, viewport={"width": 718, "height": 1000})  # what is left of A4 between margins of 1 cm
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    wide = "tables => tables.filter(one => one.getBoundingClientRect().right > innerWidth).map(one => one.innerText)"
    assert page.locator("table").evaluate_all(wide) == []
    assert page.locator("details:not([open])").count() == 0
    assert page.locator("nav, .filter, .explore svg").filter(visible=True).count() == 0
    assert page.locator("table").filter(visible=True).count() == page.locator("table").count()
    paper = tmp_path / "page.pdf"
    page.pdf(path=paper, format="A4")
    assert paper.read_bytes().count(b"/Type /Page\n") >= 3
