"""The page of a suite: self-contained, escaped, complete, honest about what it rests on; and the files beside it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pandas as pd
import pytest

from rlbench.analysis.report import figures
from rlbench.analysis.report.entries import SuiteResults, demonstrated, entries_of
from rlbench.analysis.report.suite_page import specification, suite_page, summary, underpowered, write_suite_report
from rlbench.claims import Claim, digest
from rlbench.errors import RlbenchError
from rlbench.suite import Erratum, Suite
from tests.analysis.suite.made import EVIL, PAIR, PAIR_CLAIMS, made, member, raising, suite
from tests.analysis.test_report import Page, contents

STOPPED = {("ppo-clip", "CartPole-v1", 0): "failed", ("ppo-clip", "Acrobot-v1", 1): "diverged"}


@pytest.fixture(scope="module")
def whole():
    return made(seeds=6, outcomes=STOPPED)


@pytest.fixture(scope="module")
def out(whole, tmp_path_factory):
    folder = tmp_path_factory.mktemp("suite")
    told = []
    report = write_suite_report(whole, folder, lambda *said: told.append(said), ["png"])
    assert report.problems == []
    assert {what for what, done, total in told if done == total} == {"claims judged", "errors shown", "figures drawn"}
    return folder


@pytest.fixture(scope="module")
def text(out):
    return (out / "report.html").read_text(encoding="utf-8")


def words_of(results):
    """Return the page without its figures, which take long to draw."""
    entries, errata = entries_of(results), demonstrated(results.suite.errata)
    return Page(suite_page(results, entries, errata, {}, "0" * 64))


def test_page_is_well_formed_self_contained_and_escaped(out, text):
    page = Page(text)
    assert page.unclosed == []
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r'"data:[^"]+"', "", text))
    assert {"link", "iframe"}.isdisjoint(page.tags)
    assert page.tags.count("script") == 1
    assert EVIL not in text
    assert EVIL in page.text
    assert len(page.images) == 7
    assert all(image["src"].startswith("data:image/svg+xml,<svg ") for image in page.images)
    ids = set(re.findall(r'id="([^"]+)"', text))
    for link in page.links:
        assert link[1:] in ids if link.startswith("#") else (out / link).is_file(), link


def test_page_opens_with_the_answer_and_lists_the_claims_in_order(text, whole):
    page = Page(text)
    said = " ".join(summary(whole, entries_of(whole)))
    assert said.startswith("Of 9 claims, ")
    assert "from 60 runs of 2 experiments on 2 environments; 2 claims are decided by calculation" in said
    assert page.text.index(said[:40]) < page.text.index("All claims")
    table = text[text.index('<table class="claims">') :]
    rows = re.findall(r'<th scope="row"><a href="#[^"]+">([^<]+)</a></th>', table[: table.index("</table>")])
    assert rows == ["3", "9", "10", "11", "12", "15", "15b", "22a", "22b"]


def test_page_opens_with_what_to_take_home_and_a_map_of_the_claims(whole):
    chosen = replace(whole, suite=replace(whole.suite, take_home=["22a", "10"]))
    page = words_of(chosen)
    home = page.text[page.text.index("What to take home") : page.text.index("All claims at a glance")]
    assert home.index(next(one.statement for one in entries_of(whole) if one.id == "22a")) < home.index("PPO beats")
    assert "What to take home" not in words_of(whole).text
    marks = [link for link in page.links if link.startswith("#claim-")]
    assert {f"#claim-{one.id}" for one in entries_of(whole)} <= {*marks}


def test_every_verdict_is_said_in_words_and_with_a_symbol_and_can_be_chosen(text, whole):
    entries = entries_of(whole)
    for verdict, symbol in (("supported", "✓"), ("refuted", "✗"), ("inconclusive", "?")):
        count = sum(one.verdict == verdict for one in entries)
        assert text.count(f'<tr data-verdict="{verdict}">') == count
        assert f"{symbol} {verdict} {count}</button>" in text
        assert f'<span class="badge {verdict}"><span aria-hidden="true">{symbol}</span>{verdict}</span>' in text


def test_a_section_says_everything_of_its_claim(text):
    own = text[text.index('<section class="claim" id="claim-10"') :]
    page = Page(own[: own.index("</section>") + len("</section>")])
    for words in (
        "10. PPO beats REINFORCE",
        "Claimed in: part 1",
        "ppo-clip exceeds reinforce in normalised return over training by more than 0.05, on every environment",
        "Two variants train on two tasks. Everything else is equal.",
        "ppo-clip; reinforce; both with gamma 0.99, lr 0.0003, num_envs 8 and hidden [64, 64].",
        "24 runs planned: 22 finished, 1 diverged, 1 failed. 2 did not enter the verdict.",
        "The numbers",
        "What would change the verdict",
        "If runs that failed or diverged count with the worst possible score",
        "What is known",
        "Often so.",
        "Noticed after the runs",
        "Seen afterwards: one seed is slow.",
        "the area under a run's learning curve",
        "gamma",
        "Not written down before the runs.",
    ):
        assert words in page.text, words


def test_what_is_exact_says_its_numbers_and_has_no_figure(text):
    own = text[text.index('<section class="claim" id="claim-12"') :]
    own = own[: own.index("</section>")]
    assert "It fails at 7 of 1,000 points." in own
    assert "<img" not in own


def test_errata_are_shown_in_order_with_what_they_do(text):
    page = Page(text)
    assert page.text.index("1. A sign") < page.text.index("2. A wrong return")
    assert "It returns 10.9 instead of 1.0." in page.text


def test_an_erratum_that_cannot_be_shown_says_so_and_is_a_problem(tmp_path):
    broken = Suite(errata=[Erratum("3", "A crash", "part 5", "x", "y", raising)])
    report = write_suite_report(SuiteResults("s", broken, []), tmp_path)
    assert report.problems == ["Error 3: This could not be shown: ZeroDivisionError: division by zero."]
    assert report.problems[0].removeprefix("Error 3: ") in Page(report.page.read_text()).text


def test_files_hold_every_verdict(out, whole):
    entries = entries_of(whole)
    document = json.loads((out / "verdicts.json").read_text())
    assert [(one["id"], one["verdict"]) for one in document["claims"]] == [(one.id, one.verdict) for one in entries]
    for one, entry in zip(document["claims"], entries, strict=True):
        assert len(one["parts"]) == (len(entry.judged.parts) if entry.judged else 0)
        if entry.judged:
            effects = [part["effect"] for part in one["parts"]]
            assert effects == [part.effect.point for part in entry.judged.parts]
            assert one["direction"] == entry.claim.direction
    rows = pd.read_csv(out / "verdicts.csv", dtype={"id": str})
    assert rows["id"].tolist() == [one.id for one in entries]
    effects_low = [one.decisive.effect.low if one.decisive else float("nan") for one in entries]
    assert rows["effect_low"].tolist() == pytest.approx(effects_low, nan_ok=True)
    for name in ("claims", "claims-part-by-part"):
        assert all((out / "tables" / f"{name}.{kind}").is_file() for kind in ("csv", "md", "tex"))
    assert {path.suffix for path in (out / "figures").glob("claim-22a.*")} == {".svg", ".png"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["runs"] == 60
    assert manifest["outcomes"] == {"diverged": 1, "failed": 1, "finished": 58}
    assert manifest["commits"] == {"0123456789abcdef": 60}


def test_the_specification_has_the_hash_that_the_page_says(out, text, whole):
    document, sha = specification(whole)
    assert json.loads((out / "specification.json").read_text()) == document
    assert f"SHA-256 {sha}" in Page(text).text
    changed = made(seeds=6, members=[*whole.members[:1], member("sweep", PAIR, PAIR_CLAIMS[:1], 6)])
    assert specification(changed)[1] != sha


def test_the_same_runs_give_the_same_files_also_from_other_processes_and_old_figures_go(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "_MOST_PROCESSES", 1)
    for name, worth in (("a", 100), ("b", 1)):
        monkeypatch.setattr(figures, "_WORTH_PROCESSES", worth)
        folder = tmp_path / name
        (folder / "figures").mkdir(parents=True)
        (folder / "figures" / "old.svg").write_text("old")
        (folder / "claims.json").write_text("[]")
        few = member("pair", PAIR, PAIR_CLAIMS[:2], 3, environments=["CartPole-v1"])
        write_suite_report(SuiteResults("few", suite(), [few]), folder)
    one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert "figures/old.svg" not in one
    assert one["claims.json"] == b"[]"
    assert one.keys() == other.keys()
    assert [name for name in one if one[name] != other[name]] == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"designed": {"pair": 6, "sweep": 6}}, ""),
        ({"designed": {"pair": 20, "sweep": 6}}, "Underpowered: 2 of 2 experiments, 6 seeds instead of up to 20."),
        ({"designed": {"pair": 6, "sweep": 6, "more": 6}}, "Underpowered: 2 of 3 experiments"),
        ({"quick": True}, "Underpowered: 2 of 2 experiments, 6 seeds"),
    ],
)
def test_a_report_of_less_than_was_designed_says_so(whole, changes, said):
    given = {"name": "lecture", "suite": whole.suite, "members": whole.members} | changes
    assert underpowered(SuiteResults(**given)).startswith(said)
    assert bool(underpowered(SuiteResults(**given))) == bool(said)


def entry(claims, time, stored, planned, *, old=False):
    """Return an entry of a register, as of before where only all runs together were counted."""
    each = [{"stored": min(stored, 8), "planned": 8} for _ in claims]
    counts = {"time": f"2025-01-01T00:0{time}:00+00:00", "stored": stored, "planned": planned}
    return {"sha256": digest(claims), **counts, "claims": claims} | ({} if old else {"each": each})


def with_registers(*late):
    """Return the suite in which the claims of the second experiment were added when the first one's runs were stored.

    Of each experiment in `late` all runs were stored when its claims were written down.
    """
    whole = made(seeds=2)
    documents = [[claim.document() for claim in one.claims] for one in whole.members]
    for time, (one, claims) in enumerate(zip(whole.members, documents, strict=True)):
        own = len(one.runs)
        stored = own if one.experiment.name in late else 0
        one.experiment = replace(one.experiment, register=[entry(claims, time, stored, own, old=True)])
    union = [entry(documents[0], 0, 0, 8), entry(documents[0] + documents[1], 1, 8, 20)]
    return replace(whole, register=union)


def test_claims_that_were_added_later_do_not_make_the_others_late():
    page = words_of(with_registers()).text
    said = (
        "5 claims were written down at 2025-01-01 00:00:00 UTC and 2 at 2025-01-01 00:01:00 UTC, each before any of "
        "its own runs was stored. None was changed since."
    )
    assert page.count(said) == 2  # at the top, and under "When the claims were made"
    assert page.count("Written down at 2025-01-01 00:00:00 UTC, before any of its") == 5
    assert "SHA-256 of all claims together" in page
    late = words_of(with_registers("sweep")).text
    assert "was stored, except 15 (when 12 of its 12 runs were stored) and 15b (when 12 of its 12 runs" in late


def test_a_claim_that_the_suite_made_once_and_drops_is_named():
    whole = with_registers()
    gone = Claim("It was so", PAIR, "greater", id="99").document()
    dropped = replace(whole, register=[entry([gone], 0, 0, 8), *whole.register])
    assert "Written down once and not claimed any more: “It was so”." in words_of(dropped).text
    # A part of a suite drops nothing.
    claimed = [claim.document() for claim in whole.claims]
    part = SuiteResults("x", whole.suite, whole.members[:1], whole.register, claimed)
    assert "not claimed any more" not in words_of(part).text
    assert "5 claims were written down at 2025-01-01 00:00:00 UTC, each before" in words_of(part).text


def test_what_cannot_be_decided_is_counted_by_itself_and_says_why():
    whole = made(seeds=3)
    (one, _) = whole.members
    nothing = one.tables.updates["cell"].isin(
        one.runs.query("arm == 'ppo-clip' and environment == 'Acrobot-v1'")["cell"]
    )
    one.tables.updates.loc[nothing, "entropy"] = math.nan
    claim = Claim("PPO keeps more entropy", PAIR, "greater", "entropy:mean", over="mean", id="5")
    one.experiment = replace(one.experiment, claims=(claim,))
    results = SuiteResults("x", Suite(), [one])
    (made_of_it,) = entries_of(results)
    assert made_of_it.verdict == "undecidable"
    page = words_of(results).text
    assert "Of 1 claim, 0 are supported, 0 refuted and 0 inconclusive; 1 cannot be decided (5)." in page
    assert (
        "It cannot be decided: none of the 3 finished runs of ppo-clip on Acrobot-v1 has a value of entropy (mean of a "
        "run)." in page
    )
    assert page.count("It cannot be decided: none of the 3") == 3  # in the table, below it, and at the end
    assert "undecidable" not in words_of(made(seeds=2)).text.partition("How the claims were judged")[0]


def test_runs_that_are_missing_are_counted_and_an_experiment_without_any_is_reported_too():
    missing = {
        (arm, env, seed): "missing" for arm in PAIR for env in ("CartPole-v1", "Acrobot-v1") for seed in range(2)
    }
    claims = [Claim("It learns", PAIR, "greater", id="1"), Claim("It moves", PAIR, "greater", "kl:mean", id="2")]
    members = [member("absent", PAIR, claims, 2, missing), made(seeds=2).members[1]]
    page = words_of(SuiteResults("x", Suite(), members))
    assert "8 planned runs are not stored." in page.text
    assert page.text.count("No run of its arms is stored yet.") == 4
    assert "nan" not in re.sub(r"\w+nan\w*|\w*nan\w+", "", page.text)
    with pytest.raises(RlbenchError, match="No run of the suite 'x' is stored"):
        write_suite_report(SuiteResults("x", Suite(), members[:1]), "unused")


def test_a_suite_without_experiments_is_its_checks_and_errata():
    page = words_of(SuiteResults("x", suite(), []))
    assert "Of 2 claims, 1 is supported, 1 refuted and 0 inconclusive." in page.text
    assert "runs/" not in page.links


def test_nowhere_to_write_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RlbenchError, match="Cannot write the report"):
        write_suite_report(SuiteResults("x", suite(), []), tmp_path / "file")


def test_claims_that_another_suite_tries_again_show_both_verdicts(tmp_path):
    verdicts = {entry.id: entry.verdict for entry in entries_of(made(seeds=6)) if entry.id}
    turned = {"supported": "refuted", "refuted": "supported", "inconclusive": "refuted"}
    others = [("9", verdicts["9"]), ("22a", turned[verdicts["22a"]]), ("77", "supported")]
    claims = {number: {"statement": f"Again: {number}", "verdict": verdict} for number, verdict in others}
    write_suite_report(replace(made(seeds=6), again={"elsewhere": claims}), tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    changed = f"22a ({verdicts['22a']}, elsewhere {turned[verdicts['22a']]})"
    assert (
        f"2 claims have counterparts elsewhere, whose words are with them; 1 came out otherwise: {changed}."
        in page.text
    )
    assert "Again: 22a." in page.text
    table = pd.read_csv(tmp_path / "verdicts.csv", dtype={"id": str}).set_index("id")
    assert table["elsewhere"].dropna().to_dict() == {"9": verdicts["9"], "22a": turned[verdicts["22a"]]}
    assert "Elsewhere" in (tmp_path / "tables" / "claims.md").read_text(encoding="utf-8")
