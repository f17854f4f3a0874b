"""The parts of the machine, for measurements that look inside: what an experiment may import beside `rlbench` itself.

A measured run is known by the source of its function and of the helpers beside it, import lines included. So they
import from here, where names stay, whatever moves inside of rlbench.
"""

# ruff: noqa: F401

from rlbench.algorithm import configure, stack
from rlbench.analysis.scores.scores import scores
from rlbench.functional.distributions import Family
from rlbench.functional.networks import ActorCritic, Output, Stack, Tape
from rlbench.functional.optimizers import AdamState
from rlbench.improve.compiled import CompiledProblem
from rlbench.improve.minibatches import Batch, Rollout
from rlbench.records import RunRecord
from rlbench.store import Tables
from rlbench.training import envs as environments
from rlbench.training.engines import Training
from rlbench.training.envs import Step
from rlbench.training.envs.base import action_spec
from rlbench.training.envs.classic import ClassicBatch
from rlbench.training.noise import Streams
from rlbench.training.rollout import Collector, Experience, estimate, samples, trajectory
from rlbench.training.trainer import train
