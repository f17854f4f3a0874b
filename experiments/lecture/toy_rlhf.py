"""PPO on a toy language with the penalty of learning from human feedback: words cost what they leave the reference by.

The reward of a word is what the environment pays (nothing until the text ends) less coefficient x (log pi(word) -
log pi_ref(word)), with the probability pi under which the word was drawn: the sampled estimate of KL(pi || pi_ref). It
is a reward like any other, so that advantages also hold a word responsible for the divergence that it leads to later;
an entropy bonus, or a penalty at each state alone, would not. The best policy then draws texts with probability
pi_ref(text) exp(reward(text) / coefficient), up to a factor. Training starts at the reference policy itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Discrete

from rlbench import Algorithm, Environment, registry
from rlbench.algorithm import configure
from rlbench.training.engines import Training
from rlbench.training.envs import Step
from rlbench.training.envs.base import action_spec
from rlbench.training.rollout import Collector, Experience
from toy_language import BEGIN, ID, LENGTH, SIZE, WORDS, World, observe, register, world

Array = npt.NDArray[Any]

COEFFICIENTS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Standard deviations of reward per nat; steps of half a power of ten."""
MIDDLE = 0.3
"""The coefficient that the claims call the best: in languages 100 to 104 the policies that are exactly best for the
penalised reward (they can be computed) have their highest mean true quality there."""
UPDATES = 30
SETTINGS: Mapping[str, Any] = {
    "horizon": 10 * LENGTH,
    "num_envs": 16,
    "epochs": 4,
    "minibatches": 8,
    "gamma": 1.0,
    "lr": 1e-3,
}
EVERY = 2
"""Updates between two looks at the policy."""
JUDGED = 1000
"""Texts that the policy writes for a look."""
STEEP = 2.0
"""Weight that carries a 0 or 1 through a tanh layer; any number would do."""


class Tether(NamedTuple):
    """How one policy is paid: the reward model's verdict or the true quality, and what it costs to leave the reference.

    reward       "learned" or "gold"
    coefficient  of log pi - log pi_ref
    """

    reward: str
    coefficient: float

    @property
    def label(self) -> str:
        """The name of the arm."""
        return f"{'true reward, ' if self.reward == 'gold' else ''}coefficient {self.coefficient:g}"


LEARNED = tuple(Tether("learned", coefficient) for coefficient in COEFFICIENTS)
TRUE = (Tether("gold", 0.0), Tether("gold", MIDDLE))


class Pages:
    """R x N texts in writing, all at the same word: `toy_language.Language` for all copies at once; an `EnvBatch`.

    `rewards` names that of each replica, `[R]`.
    """

    def __init__(self, known: World, rewards: Sequence[str], num_envs: int) -> None:
        self.replicas, self.num_envs, self.observation_size = len(rewards), num_envs, SIZE
        self.action = action_spec(Discrete(WORDS), ID)
        self.failures: dict[int, str] = {}
        self._judges = [known.judge(reward) for reward in rewards]
        self._texts, self._written = np.zeros((self.replicas * num_envs, LENGTH), np.int64), 0

    def reset(self, seeds: Sequence[int]) -> Array:
        """Begin all texts anew; nothing here is random."""
        self._written = 0
        return self._see()

    def step(self, action: Array) -> Step:
        """Say a word of every text, `[R, N]`."""
        shape = (self.replicas, self.num_envs)
        self._texts[:, self._written] = action.reshape(-1)
        self._written += 1
        ended, reward, following = self._written == LENGTH, np.zeros(shape), self._see()
        if ended:
            texts, self._written = np.split(self._texts, self.replicas), 0
            reward = np.stack([judge(own) for judge, own in zip(self._judges, texts, strict=True)])
        now = self._see() if ended else following
        return Step(now, following, reward, np.full(shape, ended), np.zeros(shape, bool))

    def close(self) -> None:
        """Hold nothing."""

    def _see(self) -> Array:
        return observe(self._texts[:, : self._written]).reshape(self.replicas, self.num_envs, SIZE)


class Rlhf(Training):
    """One pack in training on one language and from one seed; the replicas differ in their tether, `[R]`."""

    def __init__(self, algorithm: Algorithm, number: int, updates: int, seed: int, tethers: Sequence[Tether]) -> None:
        algorithms, seeds = [algorithm] * len(tethers), [seed] * len(tethers)
        super().__init__(algorithms, Environment(ID, {"world": number}), updates * algorithm.samples_per_update, seeds)
        self.envs.close()  # the same for all copies at once takes a fifth of the time
        self.world = world(number)
        self.envs = Pages(self.world, [one.reward for one in tethers], self.num_envs)
        self.collector = Collector(self.envs, self.family, self.network, algorithms, seeds, self.streams)
        self.coefficients = np.array([one.coefficient for one in tethers], np.float32)
        self.looks: list[dict[str, Array]] = []
        self._words, self._updates = np.random.default_rng([seed, LENGTH]), 0
        self._start_at_reference()
        self.look()

    def collect(self, horizon: int) -> Experience:
        """Return a rollout whose rewards are less the penalty."""
        experience = super().collect(horizon)
        experience.reward -= self.coefficients[:, None] * self.departure(experience)
        return experience

    def update(self, experience: Experience, mean_return: Array, progress: float) -> None:
        """Improve all replicas, and look at them now and then."""
        super().update(experience, mean_return, progress)
        self._updates += 1
        if self._updates % EVERY == 0:
            self.look()

    def departure(self, experience: Experience) -> Array:
        """Return log pi - log pi_ref of every word of a rollout, `[T, R, N]`."""
        seen, said = np.moveaxis(experience.observation, 1, 0), np.moveaxis(experience.action, 1, 0)  # [R, T, N, ...]
        head = self._head(np.ascontiguousarray(seen).reshape(self.replicas, -1, SIZE))
        log_prob = self.family.likelihood(head).log_prob(np.ascontiguousarray(said).reshape(self.replicas, -1))
        reference = self.world.reference[seen[..., : WORDS + 1].argmax(axis=-1), said]
        return np.moveaxis(log_prob.reshape(said.shape) - reference.astype(np.float32), 0, 1)

    def write(self, texts: int) -> tuple[Array, Array]:
        """Return texts of the policies `[R, texts, LENGTH]`, and KL(pi || pi_ref) along them, nats `[R, texts]`."""
        written = np.empty((self.replicas, texts, LENGTH), np.int64)
        divergence = np.zeros((self.replicas, texts))
        for place in range(LENGTH):
            seen = observe(written[..., :place].reshape(self.replicas * texts, place)).reshape(
                self.replicas, texts, SIZE
            )
            last = written[..., place - 1] if place else np.full((self.replicas, texts), BEGIN)
            head = self._head(seen)
            reference = self.family.likelihood(self.world.reference[last].astype(np.float32))
            divergence += reference.kl_from(self.family.likelihood(head))
            noise = self.family.draw_noise(self._words, (texts,))  # the same for all policies
            written[..., place] = self.family.sample(head, np.tile(noise, (self.replicas, 1, 1)))
        return written, divergence

    def look(self) -> None:
        """Let every policy write, and note what its texts are worth on average, `[R]` each."""
        texts, divergence = self.write(JUDGED)
        flat = texts.reshape(-1, LENGTH)
        found = {
            "gold": self.world.gold(flat),
            "proxy": self.world.proxy(flat),
            "coherence": self.world.coherence(flat) / LENGTH,
            "divergence": divergence.reshape(-1),
        }
        self.looks.append({name: one.reshape(self.replicas, -1).mean(axis=1) for name, one in found.items()})

    def _head(self, seen: Array) -> Array:
        return self.network.forward(self.params, seen, value=False).head

    def _start_at_reference(self) -> None:
        """Set the policies' weights so that they are the reference, exactly.

        The first 17 units of every hidden layer say which word was last, and the last layer makes its row of the
        reference of that. The other units start as in any run, but nothing depends on them yet.
        """
        *hidden, (weight, bias) = self.network.policy.layers(self.params)
        said, kept = 1.0, np.arange(WORDS + 1)
        for own, _ in hidden:
            own[:, :, kept] = 0
            own[:, kept, kept] = STEEP
            said = np.tanh(STEEP * said)
        weight[:], bias[:] = 0, 0
        weight[:, kept] = self.world.reference / said


def train(number: int, seed: int, tethers: Sequence[Tether], updates: int) -> Rlhf:
    """Return the training of one policy per tether on the language with this number, when it is over."""
    algorithm = configure(registry.load("ppo-clip"), SETTINGS, "PPO on the toy language")
    with np.errstate(all="ignore"):
        training = Rlhf(algorithm, number, updates, seed, tethers)
        try:
            records = training.run(None)
        finally:
            training.close()
    for record in records:
        if record.status != "finished":
            raise RuntimeError(f"training {record.status}: {record.reason}")
    return training


def measure(environment: Environment, seed: int) -> dict[str, dict[str, list[float]]]:
    """Return what the texts are worth at the start and after every second update, for every arm.

    Every seed is another language with other raters. gold and proxy: standard deviations of the reference's texts;
    coherence: log pi_ref per word; divergence: KL(pi || pi_ref) per text, nats.
    """
    register()
    tethers = [*LEARNED, *TRUE]
    looks = train(seed, seed, tethers, UPDATES).looks
    return {
        one.label: {name: [float(look[name][arm]) for look in looks] for name in looks[0]}
        for arm, one in enumerate(tethers)
    }
