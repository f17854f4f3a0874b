"""Entries: their order, their verdicts, and what happens where there is none."""

from __future__ import annotations

import pytest

from rlbench.analysis.report.entries import SuiteResults, entries_of, natural
from rlbench.analysis.report.suite_page import problems
from rlbench.claims import Claim
from rlbench.suite import Exact, Suite
from tests.analysis.suite.made import PAIR, PAIR_CLAIMS, made, member, raising, suite


def test_ids_are_in_the_order_that_people_expect():
    ids = ["22b", "10", "", "9", "22a", "3.10", "3.9", "22"]
    assert sorted(ids, key=natural) == ["3.9", "3.10", "9", "10", "22", "22a", "22b", ""]


def test_every_claim_and_check_is_an_entry_with_its_verdict():
    whole = made(seeds=10)
    entries = entries_of(whole)
    assert [one.id for one in entries] == ["3", "9", "10", "11", "12", "15", "15b", "22a", "22b"]
    found = {one.id: one for one in entries}
    for results in whole.members:
        for claim, verdict in zip(results.claims, results.verdicts, strict=True):
            assert found[claim.id].verdict == verdict.verdict
            assert found[claim.id].decisive in found[claim.id].judged.parts
    assert (found["11"].verdict, found["12"].verdict) == ("supported", "refuted")
    assert len({one.name for one in entries}) == len(entries)


def test_what_cannot_be_computed_is_inconclusive_and_says_why():
    broken = suite(checks=[Exact("It is exact", raising, id="7")])
    (entry, *_) = entries_of(made(suite=broken, members=()))
    assert entry.verdict == "inconclusive"
    assert "ZeroDivisionError: division by zero" in entry.problem
    assert problems([entry], []) == [f"Claim 7: {entry.problem}"]


def test_a_claim_of_runs_that_are_not_stored_is_no_problem_and_one_without_its_metric_is():
    outcomes = {
        (arm, env, seed): "missing" for arm in PAIR for env in ("CartPole-v1", "Acrobot-v1") for seed in range(4)
    }
    claims = [Claim("It moves", PAIR, "greater", "nothing:mean", id="1")]
    for seeds, outcome, said, count in ((4, outcomes, "No run of its arms", 0), (4, None, "No column 'nothing'", 1)):
        whole = SuiteResults("s", Suite(), [member("pair", PAIR, claims, seeds, outcome)])
        (entry,) = entries_of(whole)
        assert entry.verdict == "inconclusive"
        assert said in entry.problem
        assert len(problems([entry], [])) == count


def test_a_run_that_two_experiments_share_counts_once():
    whole = SuiteResults("s", Suite(), [member("a", PAIR, (), 4), member("b", PAIR, PAIR_CLAIMS, 5)])
    assert len(whole.runs) == 2 * 2 * 5


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_runs_that_stopped_are_runs(status):
    whole = SuiteResults("s", Suite(), [member("a", PAIR, (), 2, {("ppo-clip", "CartPole-v1", 0): status})])
    assert len(whole.runs) == 8
