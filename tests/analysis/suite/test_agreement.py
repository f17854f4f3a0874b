"""Two reports of one suite: which decided claims are decided the same way again."""

from __future__ import annotations

import json

import pytest

from rlbench.analysis.report.archive import Agreement, agreement, read_verdicts
from rlbench.errors import RlbenchError


def claims(**verdicts):
    return [{"id": id, "statement": f"Claim {id}", "verdict": verdict} for id, verdict in verdicts.items()]


def test_only_what_is_decided_in_the_first_counts():
    first = claims(a="supported", b="refuted", c="inconclusive", d="supported", e="refuted")
    second = claims(a="supported", b="inconclusive", c="refuted", d="refuted")
    differing = [("b", "Claim b", "refuted", "inconclusive"), ("d", "Claim d", "supported", "refuted")]
    assert agreement(first, second) == Agreement(4, 1, differing, ["e"])


def test_a_claim_with_other_words_is_another_claim():
    second = [{"id": "a", "statement": "Something else", "verdict": "supported"}]
    assert agreement(claims(a="supported"), second).absent == ["a"]


def test_a_folder_stands_for_its_file_and_other_files_are_refused(tmp_path):
    file = tmp_path / "verdicts.json"
    with pytest.raises(RlbenchError, match="Cannot read"):
        read_verdicts(tmp_path)
    file.write_text(json.dumps({"claims": claims(a="supported")}))
    assert read_verdicts(tmp_path) == read_verdicts(file) == claims(a="supported")
    for text in ("{", "[]", '{"claims": [{"id": "1"}]}', '{"claims": 3}'):
        file.write_text(text)
        with pytest.raises(RlbenchError, match=r"not a verdicts\.json"):
            read_verdicts(file)
