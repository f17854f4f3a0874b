"""The results of an experiment with what they say: comparisons with the baseline, and verdicts on claims."""

from __future__ import annotations

from functools import cached_property

from rlbench.analysis.judge.compare import Comparison, Sensitivity, compare_all, interim_verdicts, sensitivity
from rlbench.analysis.judge.verdicts import Verdict, judge
from rlbench.analysis.scores.results import Results
from rlbench.claims import Claim
from rlbench.errors import RlbenchError


class JudgedResults(Results):
    """Results that answer questions; everything is computed when it is first asked for, from their seed."""

    def compare(
        self, arm: str | None = None, baseline: str | None = None, metric: str | None = None
    ) -> list[Comparison]:
        """Compare one arm, or all of them, with `baseline`, by default the experiment's; no baseline: nothing.

        Per environment and over all of them; see `rlbench.analysis.judge.compare`. `metric` is the primary one if
        None. Where seeds were added in stages, only what the interim analyses decided has a verdict.
        """
        baseline = baseline or self.baseline
        if arm is not None and baseline is None:
            raise RlbenchError("The experiment names no baseline: say with which arm to compare.")
        if baseline is None:
            return []
        pairs = [(other, baseline) for other in (self.arms if arm is None else [arm]) if other != baseline or arm]
        compared = compare_all(self, pairs, metric or self.metrics[0]) if pairs else []
        return interim_verdicts(compared, self.experiment.sequential)

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """Every arm against the baseline in the primary score."""
        return self.compare()

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """What the runs say of every claim: supported, refuted, inconclusive or undecidable."""
        return [self.judge(claim) for claim in self.claims]

    def judge(self, claim: Claim) -> Verdict:
        """Return what the runs say of a claim, also of one that the experiment does not make."""
        return judge(claim, self)

    @cached_property
    def sensitivity(self) -> list[Sensitivity]:
        """The comparisons beside the same ones with failed runs as the worst score; empty if no run failed."""
        return sensitivity(self, self.comparisons)
