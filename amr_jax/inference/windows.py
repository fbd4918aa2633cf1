"""Windows of a long sequence, each of which is predicted on its own: labels over time."""

import dataclasses
import math
import re

from amr_jax.errors import UserError

_LENGTH = re.compile(r"([0-9]{1,9}(?:\.[0-9]+)?)(s?)")


@dataclasses.dataclass(frozen=True)
class Windows:
    """How a sequence is cut.

    Attributes:
      frames: of a window.
      stride: frames from the start of a window to that of the next.
      fps: frames per second; None: not told.
    """

    frames: int
    stride: int
    fps: float | None = None

    def spans(self, length: int) -> list[tuple[int, int]]:
        """(first frame, one past the last) of each window of a sequence of `length` frames.

        All windows are of full length and in the sequence: where the stride does not end at the
        last frame, one more window does. A sequence shorter than a window is one.
        """
        last = max(length - self.frames, 0)
        starts = [*range(0, last, self.stride), last]
        return [(start, min(start + self.frames, length)) for start in starts]

    def time(self, frame: int) -> float:
        """The time of a frame in seconds; without `fps`, its number."""
        return frame / self.fps if self.fps else float(frame)


def parse(window: str, stride: str | None, fps: float | None, max_frames: int) -> Windows:
    """The flags of `predict`.

    Args:
      window, stride: frames, such as '60', or seconds, '2s'; stride None: half a window.
      fps: frames per second.
      max_frames: the most that the model takes.

    Raises:
      UserError: a flag is none of these, or seconds without `fps`, or a window is too long.
    """
    if fps is not None and not 0 < fps < math.inf:
        raise UserError(f"--fps={fps}: expected frames per second, such as 30.")
    frames = _frames("window", window, fps)
    if frames > max_frames:
        raise UserError(
            f"--window={window} is {frames} frames; expected at most {max_frames}, the longest "
            "sequence that the model takes."
        )
    return Windows(frames, _frames("stride", stride, fps) if stride else max(1, frames // 2), fps)


def _frames(flag: str, text: str, fps: float | None) -> int:
    match = _LENGTH.fullmatch(text.strip())
    if not match or ("." in match[1] and not match[2]):
        raise UserError(f"--{flag}={text}: expected frames, such as 60, or seconds, such as 2s.")
    if match[2] and fps is None:
        raise UserError(f"--{flag}={text}: seconds need --fps=FRAMES_PER_SECOND, such as --fps=30.")
    frames = round(float(match[1]) * fps) if match[2] else int(match[1])
    if frames < 1:
        raise UserError(f"--{flag}={text} is {frames} frames; expected at least 1.")
    return frames
