"""Film strips of a report, where an environment draws itself, and their absence where it does not."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from rlbench import Arm, Experiment, films
from rlbench.errors import RlbenchError
from rlbench.films import _following
from rlbench.records import Environment
from rlbench.results import Results
from rlbench.training.envs.gymnasium import make_one
from tests.test_policies import TINY, results_of

pytest.importorskip("pygame")
Image = pytest.importorskip("PIL.Image")


class Painted(gymnasium.Env[Any, Any]):
    """Draws its time as a grey: a step is one shade lighter."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012  # as Gymnasium has it
    observation_space, action_space = gymnasium.spaces.Box(-9, 9, (1,)), gymnasium.spaces.Discrete(2)

    def __init__(self, render_mode: str | None = None, length: int = 12) -> None:
        self.render_mode, self.length = render_mode, length

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        return np.zeros(1, np.float32), 1.0, self.time == self.length, False, {}

    def render(self) -> Any:
        return np.full((30, 40, 3), 20 * self.time % 256, np.uint8)


class Unseen(Painted):
    metadata = {"render_modes": []}  # noqa: RUF012  # as Gymnasium has it

    def __init__(self) -> None:
        super().__init__()


class Torn(Painted):
    def render(self) -> Any:
        raise OSError("no screen")


class Blank(Painted):
    def render(self) -> Any:
        return None


@pytest.fixture(autouse=True)
def _environments() -> Any:
    gymnasium.register("Painted-v0", entry_point=Painted)
    gymnasium.register("Unseen-v0", entry_point=Unseen)
    gymnasium.register("Torn-v0", entry_point=Torn)
    gymnasium.register("Blank-v0", entry_point=Blank)
    yield
    for name in ("Painted-v0", "Unseen-v0", "Torn-v0", "Blank-v0"):
        del gymnasium.registry[name]


def stored(folder: Path, *environments: str, **how: Any) -> Results:
    arms = [Arm("ppo-clip", **TINY), Arm("actor-critic", **TINY)]
    return results_of(Experiment("filmed", arms, environments, seeds=3, steps=256), folder, **how)


def greys(data: bytes) -> list[int]:
    """Return the shades of a picture from left to right, of its middle row."""
    row = np.asarray(Image.open(io.BytesIO(data)).convert("L"))[15]
    return [int(shade) for shade, before in zip(row[1:], row, strict=False) if shade != before and shade != 255]


def test_a_strip_shows_an_episode_from_its_beginning_to_its_end(tmp_path: Path) -> None:
    first, second = films.strips(stored(tmp_path, "Painted-v0"))
    assert [one.title for one in (first, second)] == ["ppo-clip on Painted-v0", "actor-critic on Painted-v0"]
    assert first.caption.startswith("The median run (seed ")
    assert first.caption.endswith("return 12 after 12 steps, 1.2 s.")
    shades = [0, *greys(first.files["png"])]
    assert len(shades) == 6
    assert shades == sorted(shades)
    assert (shades[0], shades[-1]) == (0, 240)
    with Image.open(io.BytesIO(first.files["webp"])) as film:
        assert film.n_frames == 13
    assert len(first.files["webp"]) < 300_000


def test_a_report_shows_them_and_stays_one_file(tmp_path: Path) -> None:
    results = stored(tmp_path, "Painted-v0", "CartPole-v1")
    page = results.report(tmp_path / "report").read_text(encoding="utf-8")
    section = page.split("What the policies do</h2>")[1].split("<h2")[0]
    assert section.count("<figure") == 4
    assert section.count("data:image/png;base64,") == 4
    assert section.count("data:image/webp;base64,") == 4
    assert not re.findall(r'src="(?!data:)', page)
    (name,) = sorted((tmp_path / "report" / "figures").glob("strip-CartPole-v1-ppo-clip.png"))
    assert base64.b64encode(name.read_bytes()).decode() in section
    before = page
    assert results.report(tmp_path / "report").read_text(encoding="utf-8") == before
    again = results.report(tmp_path / "again").read_text(encoding="utf-8")
    assert re.sub("made-from.*", "", again) == re.sub("made-from.*", "", before)  # the same bytes


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ("Unseen-v0", "Unseen-v0 cannot be filmed, since it does not draw itself."),
        ("Torn-v0", "Torn-v0 cannot be filmed, since it raised OSError: no screen"),
        ("Blank-v0", "Blank-v0 cannot be filmed, since it does not draw itself."),
    ],
)
def test_what_does_not_draw_itself_has_none(tmp_path: Path, environment: str, said: str) -> None:
    pytest.importorskip("imageio_ffmpeg")
    results = stored(tmp_path, environment)
    assert films.strips(results) == []
    with pytest.raises(RlbenchError, match=said):
        films.film(results, ["ppo-clip"], environment, "median", tmp_path / "film.mp4")
    assert [path.name for path in tmp_path.glob("*.mp4")] == []
    assert "What the policies do" not in results.report(tmp_path / "report").read_text(encoding="utf-8")


def test_there_are_none_without_policies_or_of_too_many_arms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = stored(tmp_path / "none", "Painted-v0", keep_policies="none")
    assert films.strips(results) == []
    monkeypatch.setattr(films, "MOST", 1)
    assert films.strips(stored(tmp_path / "many", "Painted-v0")) == []


def test_a_long_film_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "_SMALL", 100)
    strip, *_ = films.strips(stored(tmp_path, "Painted-v0"))
    assert [*strip.files] == ["png"]


def test_a_film_of_a_long_episode_has_few_pictures(tmp_path: Path) -> None:
    arms = [Arm("ppo-clip", **TINY)]
    gymnasium.register("Long-v0", entry_point=Painted, kwargs={"length": 500})
    results = results_of(Experiment("long", arms, ["Long-v0"], seeds=1, steps=640), tmp_path)
    (strip,) = films.strips(results)
    with Image.open(io.BytesIO(strip.files["webp"])) as film:
        assert film.n_frames <= 61
    del gymnasium.registry["Long-v0"]


def test_what_runs_away_is_followed_where_its_model_has_a_camera_for_that() -> None:
    assert _following(make_one(Environment("CartPole-v1")).unwrapped) == {}
    pytest.importorskip("mujoco")
    assert _following(make_one(Environment("HalfCheetah-v5")).unwrapped) == {"camera_name": "track"}
    assert _following(make_one(Environment("Reacher-v5")).unwrapped) == {}
