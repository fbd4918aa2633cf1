"""A clip that moves: GIF, MP4, and a page that plays in a browser, without a network."""

import contextlib
import html
import io
import itertools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from amr_jax.errors import UserError
from amr_jax.pictures import project, skeleton, style
from amr_jax.skeleton.layouts import Layout

FORMATS = (".gif", ".mp4", ".html")

_PIXELS = 400  # of the longer side
_DPI = 120
_SLOWEST, _FASTEST = 0.1, 1000.0  # frames per second


def animation(
    clip: np.ndarray,
    layout: Layout,
    kind: str,
    *,
    fps: float = 30.0,
    title: str = "",
    channels: str | None = None,
    up: str = "auto",
    angles: Sequence[float] = (project.AZIMUTH, project.ELEVATION),
) -> bytes:
    """A clip as the content of a file that plays; every frame of the clip is one of it.

    Args:
      clip, layout, channels, up, angles: as in `skeleton.film_strip`.
      kind: `.gif`, `.mp4` (by the program ffmpeg) or `.html`.
      fps: frames per second.
      title: above the clip in a page.

    Raises:
      UserError: `fps` is not from 0.1 to 1000; MP4, and ffmpeg is absent or fails.
    """
    if not _SLOWEST <= fps <= _FASTEST:  # NaN is refused, too
        expected = f"frames per second from {_SLOWEST:g} to {_FASTEST:g}, such as 30"
        raise UserError(f"fps: found {fps:g}; expected {expected}.")
    if kind == ".html":
        return _page(clip, layout, fps, title, channels, up, angles).encode()
    images = _images(project.points(clip, layout, channels, up, angles), layout)
    return _gif(images, fps) if kind == ".gif" else _mp4(images, fps)


def _images(points: np.ndarray, layout: Layout) -> Iterator[np.ndarray]:
    """Each frame as pixels (H, W, 3) uint8, H and W even, as MP4 needs; the view stands still."""
    with style.applied():
        low, high = np.nanmin(points, (0, 1, 2)), np.nanmax(points, (0, 1, 2))
        margin = 0.06 * max(*(high - low), 1e-6)
        low, high = low - margin, high + margin
        size = np.ceil(_PIXELS * (high - low) / max(high - low) / 2).clip(40) * 2
        figure = Figure(figsize=size / _DPI, dpi=_DPI)
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), frameon=False)
        axes.set_axis_off()
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        for frame in points:
            for artist in list(axes.collections):
                artist.remove()
            for m, body in enumerate(frame):
                skeleton.draw_body(axes, body, layout, pale=0.55 if m else 0.0)
            canvas.draw()
            yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _gif(images: Iterator[np.ndarray], fps: float) -> bytes:
    from PIL import Image

    # Made while they are written: Pillow keeps of each a byte a pixel.
    frames = map(Image.fromarray, images)
    buffer = io.BytesIO()
    duration = max(20, round(1000 / fps))  # browsers slow down what is faster
    how = {"append_images": frames, "duration": duration, "loop": 0}
    next(frames).save(buffer, "GIF", save_all=True, **how)
    return buffer.getvalue()


def _mp4(images: Iterator[np.ndarray], fps: float) -> bytes:
    program = shutil.which("ffmpeg")
    if program is None:
        raise UserError(
            "--out=….mp4: the program ffmpeg is not installed; expected it on the PATH "
            "(apt-get install ffmpeg, conda install ffmpeg), or a name that ends in .gif or .html."
        )
    first = next(images)
    height, width = first.shape[:2]
    source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {fps:g} -i -".split()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as said:
        path = Path(folder) / "clip.mp4"
        wanted = ["-pix_fmt", "yuv420p", "-movflags", "+faststart", str(path)]
        command = [program, "-loglevel", "error", *source, *wanted]
        started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=said, stderr=said)
        with contextlib.suppress(BrokenPipeError), started as process:  # it may fail: below
            for image in itertools.chain([first], images):
                process.stdin.write(image.tobytes())
        if process.returncode:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:]
            raise UserError(f"--out=….mp4: {program} failed: {''.join(last)}")
        return path.read_bytes()


def _page(
    clip: np.ndarray,
    layout: Layout,
    fps: float,
    title: str,
    channels: str | None,
    up: str,
    angles: Sequence[float],
) -> str:
    """An HTML page in which a clip plays, stops, scrubs, and in space turns by dragging."""
    channels = project.channels_of(clip, channels)
    in_space = channels == "xyz"
    up = project.up_axis(clip, layout) if in_space and up == "auto" else up
    here = project.found(clip, channels)
    places = clip[..., : 3 if in_space else 2].astype(np.float64)
    places = np.concatenate([places, np.zeros((*places.shape[:-1], 3 - places.shape[-1]))], -1)
    low, high = (end(places[here], axis=0) for end in (np.min, np.max))
    radius = np.linalg.norm(high - low) / 2 or 1.0
    digits = max(0, 3 - int(np.floor(np.log10(radius))))
    data = {
        "joints": np.where(here[..., None], places.round(digits), np.nan).tolist(),
        "lines": skeleton.lines(layout),
        "heads": skeleton.heads(layout),
        "middle": ((low + high) / 2).tolist(),
        "radius": float(radius),
        "aspect": 0.9,
        "forward": project.forward(up).tolist() if in_space else None,
        "up": project.upward(up).tolist() if in_space else None,
        "angles": list(angles),
        "fps": fps,
    }
    text = (resources.files("amr_jax.pictures") / "player.html").read_text(encoding="utf-8")
    text = text.replace("__TITLE__", html.escape(title or "clip"))
    return text.replace("__CLIP__", json.dumps(data).replace("[NaN, NaN, NaN]", "null"))
