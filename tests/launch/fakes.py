"""A place to try launchers in: executables on PATH that write down how they were called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# A Python that installs nothing, and whose commands end as the lines of `ends` say, or well: with a
# status, or (`waits`) after SIGTERM, as a run that saves, or with its slice, or together with what
# started it (`loses its host`). In a slice every worker has lines of its own.
_PYTHON = f"""#!/usr/bin/env bash
case "$*" in
  "-m pip"*) ;;
  "-m amr_jax."*)
    printf '%s\\n' "$*" >>"$FAKES/python$WORKER"
    end=$(head -n 1 "$FAKES/ends$WORKER" 2>/dev/null)
    sed -i 1d "$FAKES/ends$WORKER" 2>/dev/null
    echo "worker $WORKER at work"
    if [ "$end" = waits ]; then
      trap 'exit 75' TERM
      until [ -e "$FAKES/deleted" ]; do sleep 0.05; done
    fi
    [ "$end" != "loses its host" ] || kill -KILL "$PPID" $$
    exit "${{end:-0}}" ;;
  *) exec {sys.executable} "$@" ;;
esac
"""

# One slice of two hosts, which are folders. The lines of `states` say how it is, one a look; then
# it is ACTIVE, from its creation to its deletion.
_GCLOUD = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$FAKES/gcloud"
verb="$3 $4"
[ "$1" = storage ] && exit
case $verb in
  "queued-resources create")
    [ ! -e "$FAKES/refuse_create" ] || exit 1
    rm -f "$FAKES/deleted"
    touch "$FAKES/slice" ;;
  "queued-resources delete")
    [ ! -e "$FAKES/refuse_delete" ] || exit 1
    mv "$FAKES/slice" "$FAKES/deleted" ;;
  "queued-resources describe")
    [ -e "$FAKES/slice" ] || exit 1
    state=$(head -n 1 "$FAKES/states" 2>/dev/null)
    sed -i 1d "$FAKES/states" 2>/dev/null
    echo "${state:-ACTIVE}" ;;
  "tpu-vm scp")
    for worker in 0 1; do
      mkdir -p "$FAKES/worker$worker"
      cp "$5" "$FAKES/worker$worker/${6#*:}"
    done ;;
  "tpu-vm ssh")
    for argument; do
      case $argument in
        --worker=*) workers=${argument#*=} ;;
        --command=*) command=${argument#*=} ;;
      esac
    done
    [ "$workers" != all ] || workers="0 1"
    for worker in $workers; do
      (cd "$FAKES/worker$worker" && WORKER=$worker exec bash -c "$command") &
      running="$running $!"
    done
    for process in $running; do wait "$process" || status=$?; done
    exit "${status:-0}" ;;
  *) exit 64 ;;
esac
"""

_SRUN = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$FAKES/srun"
exit "$(cat "$FAKES/ends")"
"""

_SCONTROL = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$FAKES/scontrol"
"""

# The real one looks once a second whether the process that it waits for has ended.
_TAIL = f"""#!/bin/sh
exec {shutil.which("tail")} --sleep-interval=0.05 "$@"
"""


# What is ignored when bash starts stays so: as in a background job, where tests may run.
_HEEDING = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
_HEEDING_SIGNALS = (sys.executable, "-c", _HEEDING)


class Place:
    """A folder of fakes, of what they wrote down, and of what they are told to do.

    Args:
      folder: an empty one; `folder / "here"` is where launchers run, `folder / "venv"` their
        virtual environment.
    """

    def __init__(self, folder: Path):
        self.folder, self.here = folder, folder / "here"
        self.here.mkdir()
        self.python = folder / "venv" / "bin" / "python"
        self.python.parent.mkdir(parents=True)
        commands = {"gcloud": _GCLOUD, "srun": _SRUN, "scontrol": _SCONTROL, "tail": _TAIL}
        (folder / "bin").mkdir()
        for path, text in {
            self.python: _PYTHON,
            **{folder / "bin" / name: text for name, text in commands.items()},
        }.items():
            path.write_text(text)
            path.chmod(0o755)

    def tell(self, name: str, *lines: str) -> None:
        """What a fake is to do: `ends`, `ends0`, `states`, `refuse_create`, …"""
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines))

    def told(self, name: str) -> list[str]:
        """How the fake `name` was called, a line each time."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def start(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen:
        """Starts a launcher; on PATH the fakes hide what might be installed here."""
        return subprocess.Popen(
            [*_HEEDING_SIGNALS, "bash", REPOSITORY / "launch" / script, *arguments],
            cwd=self.here,
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "TMPDIR": str(self.folder),
                "FAKES": str(self.folder),
                "WORKER": "",
                "AMR_VENV": str(self.python.parents[1]),
                "AMR_POLL_SECONDS": "0",
                **variables,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """Runs a launcher to its end."""
        process = self.start(script, *arguments, **variables)
        out, errors = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, out, errors)
