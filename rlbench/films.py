"""What policies do, as pictures: films of several arms side by side, and the film strips of a report.

Rendering needs a display nowhere: pygame and MuJoCo are told to draw into memory.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib.util
import io
import itertools
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rlbench.analysis.format import number
from rlbench.analysis.report.figures import Picture
from rlbench.analysis.scores.results import Results
from rlbench.errors import RlbenchError, explained
from rlbench.files import file_name
from rlbench.policies import Chosen, Seed, chosen, environment_of, read_policy
from rlbench.records import Environment
from rlbench.study.environments import registered
from rlbench.study.process import left_as_found
from rlbench.training.envs.gymnasium import make_one
from rlbench.training.evaluation import LONGEST, generators_of, seeds_of
from rlbench.training.policy import Policy

if TYPE_CHECKING:
    from PIL.Image import Image

MOST = 24  # strips in a report
MOST_BESIDE = 12  # arms in a film; encoders take no wider frames than those of some 25
_HEIGHT = 400  # pixels of a frame at most
_BAR = 40  # of the words above it
_HOLD = 0.6  # seconds for which the last frame of an episode stays
_STRIP_HEIGHT, _STRIP_FRAMES = 140, 6
_SMALL = 300_000  # bytes of a film on a page
_FILM_HEIGHT, _FRAMES = 200, 60
_GAP = 6


class Frame(NamedTuple):
    """One picture of an episode: `image`, after `step` steps with the return so far."""

    image: Image
    step: int
    so_far: float
    over: bool


def film(
    results: Results,
    arms: Sequence[str],
    environment: str,
    seed: Seed,
    path: Path,
    episodes: int = 3,
    *,
    sampled: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> list[str]:
    """Write a film of one run of each arm, in the same episodes, as MP4 or GIF; return what it shows, a line per arm.

    Raises:
        RlbenchError: nothing can be rendered, no policy is kept, or the file cannot be written.
    """
    for package in ("imageio", "imageio_ffmpeg"):
        if importlib.util.find_spec(package) is None:
            raise RlbenchError(f"A film needs {package}; pip install 'rlbench[video]' installs what films need.")
    if len(arms) > MOST_BESIDE:
        raise RlbenchError(f"A film shows at most {MOST_BESIDE} arms side by side, not {len(arms)}; name some (--arm).")
    runs = [run for arm in arms for run in chosen(results, arm, environment, seed)]
    place = environment_of(results, environment)
    returns: list[list[float]] = [[] for _ in runs]

    def frames(stages: Sequence[_Stage]) -> Iterator[Image]:
        for episode in range(episodes):
            playing = [stage.play(episode, sampled=sampled) for stage in stages]
            now = [next(each) for each in playing]
            after = round(_HOLD * stages[0].rate)
            while after:
                pictures = [_titled(run, each, episode) for run, each in zip(runs, now, strict=True)]
                yield _beside(pictures)
                after -= all(each.over for each in now)
                now = [next(more, frame) for more, frame in zip(playing, now, strict=True)]
            for own, frame in zip(returns, now, strict=True):
                own.append(frame.so_far)
            progress("episodes filmed", episode + 1, episodes)

    with left_as_found(), registered(place), contextlib.ExitStack() as opened:
        stages = [opened.enter_context(contextlib.closing(_Stage(read_policy(results, run), place))) for run in runs]
        with explained(f"Cannot write {path}"):
            _write(frames(stages), path, stages[0].rate)
    return [
        f"{run.arm}, seed {run.seed}: returns {', '.join(f'{each:.4g}' for each in own)}"
        for run, own in zip(runs, returns, strict=True)
    ]


def _following(env: Any) -> dict[str, Any]:
    """Return the option by which a task of MuJoCo's that runs away is followed, where its model has such a camera."""
    model: Any = getattr(env, "model", None)
    names = [model.camera(at).name for at in range(getattr(model, "ncam", 0))]
    return {"camera_name": "track"} if "track" in names else {}


class _Stage:
    """An environment that draws itself, and the policy that acts in it."""

    def __init__(self, policy: Policy, environment: Environment) -> None:
        _draw_into_memory()
        self._policy = policy
        with contextlib.closing(make_one(environment)) as plain:
            if "rgb_array" not in (plain.metadata.get("render_modes") or ()):
                raise RlbenchError(f"{environment.label} cannot be filmed, since it does not draw itself.")
            asked = dict(environment.options)
            camera = {} if {"camera_id", "camera_name"} & {*asked} else _following(plain.unwrapped)
        self._env = make_one(replace(environment, options={**asked, **camera, "render_mode": "rgb_array"}))
        self.rate = float(self._env.metadata.get("render_fps") or 30)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def play(self, episode: int, *, sampled: bool = False, wanted: Sequence[int] | None = None) -> Iterator[Frame]:
        """Yield the frames of an evaluation's episode, only those after the `wanted` steps, and always the last."""
        self._policy.generator = generators_of(episode + 1)[episode]
        observation = self._call(self._env.reset, seed=seeds_of(episode + 1)[episode])[0]
        step, so_far, over = 0, 0.0, False
        while True:
            if wanted is None or step in wanted or over:
                yield Frame(self._frame(), step, so_far, over)
            if over:
                return
            action = self._policy(observation, deterministic=not sampled)
            observation, reward, terminated, truncated, _ = self._call(self._env.step, action)
            step, so_far = step + 1, so_far + float(reward)
            over = bool(terminated or truncated) or step >= LONGEST

    def _call(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call a function of the environment; RlbenchError for whatever it raises: no mode, no display, no package."""
        try:
            return function(*arguments, **named)
        except (Exception, SystemExit) as error:
            place = self._policy.environment.label
            raise RlbenchError(f"{place} cannot be filmed, since it raised {type(error).__name__}: {error}") from error

    def _frame(self) -> Image:
        from PIL import Image

        pixels = self._call(self._env.render)
        if not isinstance(pixels, np.ndarray) or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
            raise RlbenchError(f"{self._policy.environment.label} cannot be filmed, since it does not draw itself.")
        return _scaled(Image.fromarray(pixels.astype(np.uint8)), _HEIGHT)


def _draw_into_memory() -> None:
    os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")  # a signal to stop stops the process, as always
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # of pygame
        os.environ.setdefault("MUJOCO_GL", "egl" if ctypes.util.find_library("EGL") else "osmesa")


def _scaled(image: Image, height: int) -> Image:
    from PIL.Image import Resampling

    if image.height <= height:
        return image
    return image.resize((max(round(image.width * height / image.height), 1), height), Resampling.BILINEAR)


def _titled(run: Chosen, frame: Frame, episode: int) -> Image:
    """Return a frame under a bar with the arm's name and the return so far."""
    from PIL import Image, ImageDraw

    canvas = Image.new("RGB", (frame.image.width, frame.image.height + _BAR), "white")
    canvas.paste(frame.image, (0, _BAR))
    pen, small = ImageDraw.Draw(canvas), f"seed {run.seed}, episode {episode + 1}, return {frame.so_far:.4g}"
    pen.text((6, 2), run.arm, fill="#262626", font=_font(15))
    pen.text((6, 22), small + (" (over)" if frame.over else ""), fill="#6b6b6b", font=_font(12))
    return canvas


@cache
def _font(size: int) -> Any:
    from matplotlib import font_manager
    from PIL import ImageFont

    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), size)


def _beside(images: Sequence[Image]) -> Image:
    """Return images side by side, with multiples of 16 pixels, as films want them."""
    from PIL import Image

    width, height = sum(image.width + _GAP for image in images) - _GAP, max(image.height for image in images)
    canvas = Image.new("RGB", (width + -width % 16, height + -height % 16), "white")
    left = 0
    for image in images:
        canvas.paste(image, (left, 0))
        left += image.width + _GAP
    return canvas


def _write(frames: Iterable[Image], path: Path, rate: float) -> None:
    """Write a film, whole or not at all."""
    import imageio.v2 as imageio

    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    every = max(1, round(rate / 25)) if path.suffix == ".gif" else 1  # no player shows more pictures of a GIF a second
    how: dict[str, Any] = {"duration": 1000 * every / rate, "loop": 0} if path.suffix == ".gif" else {"fps": rate}
    try:
        writer: Any = imageio.get_writer(temporary, **how)
        with writer:
            for frame in itertools.islice(frames, 0, None, every):
                writer.append_data(np.asarray(frame))
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def strips(results: Results, progress: Callable[[str, int, int], None] = lambda *_: None) -> list[Picture]:
    """Return a strip of frames of the median run of every arm on every environment, with a small film of it.

    None where nothing was trained here, policies are not kept, an environment does not draw itself or cannot be made
    here, or where there would be more than `MOST` of them.
    """
    pairs = [(place, arm) for place in results.environments for arm in results.arms]
    if results.measured or results.experiment.runs_in is None or len(pairs) > MOST:
        return []
    drawn, taken = [], set[str]()
    for done, (place, arm) in enumerate(pairs, start=1):
        with contextlib.suppress(RlbenchError):
            (run,) = chosen(results, arm, place, "median")
            drawn.append(_strip(results, run, environment_of(results, place), file_name(f"strip-{place}-{arm}", taken)))
        progress("film strips drawn", done, len(pairs))
    return drawn


def _strip(results: Results, run: Chosen, environment: Environment, name: str) -> Picture:
    with (
        left_as_found(),
        registered(environment),
        contextlib.closing(_Stage(read_policy(results, run), environment)) as stage,
    ):
        (last,) = stage.play(0, wanted=())
        every = max(1, -(-last.step // _FRAMES))
        frames = list(stage.play(0, wanted=range(0, last.step, every)))
    # The frames of the strip lie as far apart as can be.
    places = np.unique(np.linspace(0, len(frames) - 1, _STRIP_FRAMES).round().astype(int))
    strip = _beside([_scaled(frames[place].image, _STRIP_HEIGHT) for place in places])
    small, *others = [_scaled(frame.image, _FILM_HEIGHT) for frame in frames]
    pauses = [1000 * every / stage.rate] * len(others) + [1000 * _HOLD]
    moving = _saved(
        small, "WEBP", save_all=True, append_images=others, duration=[*map(round, pauses)], loop=0, quality=50
    )
    seconds = last.step / stage.rate
    return Picture(
        name,
        "What the policies do",
        f"{run.arm} on {run.environment}",
        f"The {'median run' if run.kept > 1 else 'only run whose policy is kept'} (seed {run.seed}) in one episode "
        f"after training, with its most likely actions: return {number(last.so_far)} after {last.step} steps, "
        f"{seconds:.3g} s.",
        f"Frames of one episode of {run.arm} on {run.environment}, from left to right.",
        files={"png": _saved(strip, "PNG")} | ({"webp": moving} if len(moving) <= _SMALL else {}),
        wide=True,
    )


def _saved(image: Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()
