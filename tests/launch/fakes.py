"""A place to try launchers in: executables on PATH that record how they were called."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# A Python that records pip's arguments and the commands of amr_jax. A command exits with the status
# in the next line of `ends` (default 0); for `waits`, with 75 after SIGTERM, as a run that saves.
_PYTHON = f"""#!/usr/bin/env bash
case "$*" in
  "-m pip install"*) echo "$@" >>"$FAKES/pip"; exit "${{PIP_STATUS:-0}}" ;;
  "-m amr_jax."*)
    printf '%s\\n' "$*" >>"$FAKES/python"
    end=$(head -n 1 "$FAKES/ends" 2>/dev/null)
    sed -i 1d "$FAKES/ends" 2>/dev/null
    if [ "$end" = waits ]; then
      trap 'exit 75' TERM
      echo "at work"
      while true; do sleep 0.05; done
    fi
    exit "${{end:-0}}" ;;
  *) exec {sys.executable} "$@" ;;
esac
"""

_RECORDS = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$FAKES/{name}"
"""

# A signal that is ignored when bash starts stays ignored, as in a background job.
_HEEDING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Place:
    """A folder of fakes and of what they record.

    Args:
      folder: an empty one; `folder / "here"` is where launchers run, `folder / "venv"` their
        virtual environment.
    """

    def __init__(self, folder: Path):
        self.folder, self.here = folder, folder / "here"
        self.python = folder / "venv" / "bin" / "python"
        texts = {name: _RECORDS.format(name=name) for name in ("gcloud", "scontrol")}
        texts["srun"] = _RECORDS.format(name="srun") + 'exit "$(cat "$FAKES/ends")"\n'
        files = {folder / "bin" / name: text for name, text in texts.items()}
        for path, text in {**files, self.python: _PYTHON}.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755)
        self.here.mkdir()

    def ends(self, *statuses: str) -> None:
        """How the next commands end."""
        (self.folder / "ends").write_text("".join(f"{status}\n" for status in statuses))

    def calls(self, name: str) -> list[str]:
        """Arguments of the fake `name`, one line per call."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def start(self, *command: str | Path, **variables: str) -> subprocess.Popen:
        """Starts bash with the fakes on PATH."""
        return subprocess.Popen(
            [sys.executable, "-c", _HEEDING, "bash", *command],
            cwd=self.here,
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "FAKES": str(self.folder),
                "AMR_VENV": str(self.python.parents[1]),
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Runs a launcher to its end."""
        return _end(self.start(REPOSITORY / "launch" / script, *arguments, **variables))

    def bash(self, lines: str, **variables: str) -> subprocess.CompletedProcess:
        """Runs lines after launch/environment.sh."""
        head = f"set -euo pipefail; source {REPOSITORY}/launch/environment.sh\n"
        return _end(self.start("-c", head + lines, **variables))


def _end(process: subprocess.Popen) -> subprocess.CompletedProcess:
    out, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)
