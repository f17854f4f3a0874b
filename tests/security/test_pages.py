"""Reports show whatever stands in names, reasons and sentences as text, in every kind of file."""

from __future__ import annotations

import csv
import html.parser
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest

from rlbench.analysis.format import csv_text
from rlbench.analysis.report.entries import SuiteResults
from rlbench.analysis.report.suite_page import write_suite_report
from rlbench.analysis.report.table import Table, latex, markdown
from rlbench.claims import Claim
from rlbench.results import Results, read_results
from rlbench.suite import Erratum, Exact, Suite
from tests.analysis.synthetic import experiment_document, make_tables

TEMPLATES = Path(__file__).parents[2] / "rlbench" / "analysis" / "report" / "templates"
EVIL = "</script></style></title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}<!--"
ARMS = (f"ppo-clip {EVIL}", "reinforce <b>", "trpo $\\frac{1}{$ & _x% #")
PLACES = (f"CartPole-v1(x={EVIL})", "Acrobot-v1(javascript:alert(1))")


class Elements(html.parser.HTMLParser):
    """Every element of a page with its attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.comments: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def of_template(name: str) -> tuple[set[str], set[str], int]:
    """Return the tags, the attributes and the number of scripts that a template has, with what it imports."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    text += "".join(
        (TEMPLATES / part).read_text(encoding="utf-8") for part in re.findall('{% from "(.+?)" import', text)
    )
    source = re.sub(r"\{%.*?%\}|\{\{.*?\}\}", "", text, flags=re.DOTALL)
    tags = set(re.findall(r"<([a-z][a-z0-9]*)", source))
    attributes = set(re.findall(r"\s([a-z-]+)(?==|[\s>])", " ".join(re.findall(r"<[a-z][^>]*>", source)).lower()))
    return tags, attributes | {"class"}, source.count("<script")


def assert_escaped(page: Path, template: str) -> Elements:
    """Fail if a page has anything that its template has not, or that runs or leads anywhere."""
    tags, attributes, scripts = of_template(template)
    found = Elements(page.read_text(encoding="utf-8"))
    assert {tag for tag, _ in found.found} <= tags
    assert {name for _, own in found.found for name in own} <= attributes
    assert not any(name.startswith("on") for _, own in found.found for name in own)
    without_curves = not any(own.get("id") == "explore" for _, own in found.found)
    assert sum(tag == "script" for tag, _ in found.found) == scripts - without_curves
    assert found.comments == []
    for tag, own in found.found:
        if tag == "img":
            kind, _, drawing = str(own["src"]).partition(",")
            assert kind == "data:image/svg+xml"
            assert '"' not in drawing
            assert_harmless(ElementTree.fromstring(unquote(drawing)), "a drawing on the page")
        if "href" in own:
            assert re.fullmatch(r"#[A-Za-z0-9.-]+|[A-Za-z0-9./-]+", str(own["href"]))
            assert not str(own["href"]).startswith((".", "/"))
    assert "49" not in re.findall(r"onerror=alert\(2\)>(\S+)", found.text)  # templates inside of names are not rendered
    return found


def assert_drawings_are_drawings(folder: Path, expected: int) -> None:
    """Fail unless every SVG is well-formed and holds shapes and letters only."""
    files = sorted(folder.rglob("*.svg"))
    assert len(files) >= expected
    for file in files:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*\.svg", file.name)
        assert_harmless(ElementTree.parse(file).getroot(), file.name)


def assert_harmless(drawing: ElementTree.Element, where: str) -> None:
    for element in drawing.iter():
        tag = element.tag.rpartition("}")[2]
        assert tag not in ("script", "foreignObject", "a", "iframe", "handler", "animate", "set"), where
        for name, value in element.attrib.items():
            assert not name.rpartition("}")[2].startswith("on"), where
            if name.endswith("href"):
                assert value.startswith(("#", "data:image/png;base64,")), where


def assert_no_formulas(folder: Path) -> int:
    """Fail if a cell of a CSV file would be a formula in a spreadsheet; return the number of cells."""
    cells = 0
    for file in folder.rglob("*.csv"):
        with file.open(encoding="utf-8", newline="") as opened:
            for cell in (cell for row in csv.reader(opened) for cell in row):
                cells += 1
                if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
                    float(cell)
    return cells


def hostile_results(name: str = "hostile", **changes: Any) -> Results:
    outcomes = {(ARMS[0], PLACES[0], 0): "failed", (ARMS[1], PLACES[1], 1): "diverged"}
    tables = make_tables(ARMS, PLACES, seeds=4, steps=8_000, outcomes=outcomes)
    tables.runs.loc[tables.runs["reason"] != "", "reason"] = f"=cmd|' /C calc'!A0 {EVIL}"
    tables.runs[["commit", "device"]] = EVIL
    claims = [
        Claim(f"@SUM(A1) {EVIL}", ARMS[:2], "greater", "auc", id=f"1{EVIL}", source=EVIL, known=EVIL),
        Claim(f"Another {EVIL}", [ARMS[0]], "above", "kl:mean", bound=0.0, id="../../x"),
    ]
    document = experiment_document(ARMS, PLACES, ARMS[1], 4, 8_000) | {
        "name": name,
        "question": f"Is {EVIL} better?",
        "design": EVIL,
        "claims": [one.document() for one in claims],
        "register": [{"sha256": EVIL, "time": EVIL, "stored": 0, "planned": 1, "claims": []}],
    }
    document["arms"][0]["settings"] = {EVIL: EVIL, "=1+1": ["-x"]}
    return Results(document | changes, tables)


def test_the_report_of_an_experiment(tmp_path: Path) -> None:
    page = hostile_results(EVIL).report(tmp_path)
    found = assert_escaped(page, "report.html.j2")
    for text in (*ARMS, *PLACES, EVIL, f"Is {EVIL} better?"):
        assert " ".join(text.split()) in " ".join(found.text.split())
    assert_drawings_are_drawings(tmp_path, 10)
    assert assert_no_formulas(tmp_path) > 500


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # names this long leave no room for the axes
def test_the_report_of_a_suite(tmp_path: Path) -> None:
    def said() -> tuple[bool, str]:
        return True, f"=1+1 {EVIL}"

    def raising() -> str:
        raise ValueError(EVIL)

    suite = Suite(
        title=EVIL,
        introduction=EVIL,
        checks=[Exact(f"-{EVIL}", said, id="9", source=EVIL, known=EVIL)],
        errata=[Erratum(EVIL, EVIL, EVIL, EVIL, EVIL, raising)],
        remarks={f"1{EVIL}": EVIL, "../../x": EVIL},
    )
    provenance = [{"versions": {EVIL: EVIL}, "machine": {"system": EVIL}}]
    results = SuiteResults("hostile", suite, [hostile_results()], provenance=provenance)
    report = write_suite_report(results, tmp_path / "out")
    found = assert_escaped(report.page, "suite.html.j2")
    assert EVIL in found.text
    assert_drawings_are_drawings(tmp_path, 2)
    assert assert_no_formulas(tmp_path) > 50
    assert [one.name for one in tmp_path.iterdir()] == ["out"]
    for file in tmp_path.rglob("*.json"):
        json.loads(file.read_text(encoding="utf-8"))


def test_the_report_of_a_table_from_elsewhere(tmp_path: Path) -> None:
    rows = [
        {"algorithm": arm, "environment": place, "seed": seed, "score": seed + len(arm)}
        for arm in (*ARMS, "=1+1", "-2+3", "@SUM(1)")
        for place in PLACES
        for seed in range(4)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "<img src=x onerror=alert(1)>.csv", index=False)
    results = read_results(tmp_path / "<img src=x onerror=alert(1)>.csv", baseline=ARMS[1])
    page = results.report(tmp_path / "out")
    found = assert_escaped(page, "report.html.j2")
    assert ARMS[0] in found.text
    assert_drawings_are_drawings(tmp_path, 5)
    assert assert_no_formulas(tmp_path / "out") > 100


def test_a_notebook_shows_text() -> None:
    shown = Elements(hostile_results()._repr_html_())
    assert {tag for tag, _ in shown.found} <= {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert EVIL in shown.text


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "--x"])
def test_text_that_looks_like_a_formula_gets_an_apostrophe(text: str) -> None:
    rows = list(csv.reader(csv_text(pd.DataFrame({text: [text, "x"]})).splitlines() or [""]))
    written = csv_text(pd.DataFrame({"a": [text]}))
    assert f"'{text}" in written
    assert rows[0][0].startswith("'") or "\r" in text


def test_numbers_stay_numbers() -> None:
    data = pd.DataFrame({"a": [-1.5, 2.0], "b": ["-0.5", "+3"], "c": [None, True]})
    assert csv_text(data) == "a,b,c\n-1.5,-0.5,\n2.0,+3,True\n"


def hostile_table() -> Table:
    shown = pd.DataFrame({"Arm": [*ARMS, "[x](javascript:alert(1))", "a | b"], "n": ["1"] * 5})
    return Table("hostile", f"Title {EVIL}", shown, shown, f"Note {EVIL} [x](javascript:alert(1))")


def test_latex_prints_what_it_means() -> None:
    text = latex(hostile_table())
    body = text[text.index(r"\midrule") + len(r"\midrule") : text.index(r"\bottomrule")]
    commands = r"\\textbackslash\{\}|\\textless\{\}|\\textgreater\{\}|\\textasciitilde\{\}|\\textasciicircum\{\}"
    plain = re.sub(rf"{commands}|\\[&%$#_{{}}]|\\\\\n", "", body)
    assert not re.search(r"[\\%$#_{}~^]", plain)
    assert plain.count("&") == 5  # one between the two cells of a row


def test_markdown_holds_no_html_and_no_links() -> None:
    text = markdown(hostile_table())
    assert "<" not in text
    assert "](" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
