"""The results of an experiment with what they say: comparisons with the baseline, and verdicts on claims."""

from __future__ import annotations

from functools import cached_property

from rlbench.analysis.judge import compare as comparing
from rlbench.analysis.judge.compare import Comparison, decided
from rlbench.analysis.judge.sensitivity import Sensitivity, sensitivity
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
        baseline, metric = baseline or self.baseline, metric or self.metrics[0]
        if arm is not None and baseline is None:
            raise RlbenchError("The experiment names no baseline: say with which arm to compare.")
        if baseline is None:
            return []
        return decided(self._fixed_comparisons(baseline, metric, arm), self.experiment.sequential)

    def _fixed_comparisons(self, baseline: str, metric: str, arm: str | None = None) -> list[Comparison]:
        """Compare as if the number of runs had been fixed, in the order of the experiment."""
        pairs = [(other, baseline) for other in ([arm] if arm is not None else self.arms) if other != baseline or arm]
        if not pairs:
            return []
        return comparing.compare_all(
            self.scores, pairs=pairs, metric=metric, seed=self.seed, references=self.references, traces=self.traces
        )

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
        return judge(claim, self, seed=self.seed)

    @cached_property
    def sensitivity(self) -> list[Sensitivity]:
        """The comparisons beside the same ones with failed runs as the worst score; empty if no run failed."""
        # Both as if the number of runs had been fixed, also where it was not: the two must differ in one thing only.
        compared = self.comparisons
        if self.experiment.sequential and self.baseline:
            compared = self._fixed_comparisons(self.baseline, self.metrics[0])
        return sensitivity(self.scores, compared, seed=self.seed, references=self.references, traces=self.traces)
