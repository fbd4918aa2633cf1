"""Command: what this installation has, what is missing for which command, and what fills the disk.

python -m amr_jax.doctor --data_dir=DIR
python -m amr_jax.doctor --clear_cache

Everything but the devices is told without JAX.
"""

if __name__ == "__main__":
    from amr_jax.__main__ import script

    script("doctor")


import argparse
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import amr_jax
from amr_jax.data import datasets, record_files
from amr_jax.errors import UserError
from amr_jax.run import machine, paths
from amr_jax.run.compilation import FOLDER as COMPILED

# What needs the packages of an extra (setup.py), or a program.
EXTRAS = {
    "cuda12": "NVIDIA GPUs, older drivers",
    "cuda13": "NVIDIA GPUs",
    "tpu": "TPUs",
    "gcs": "data and workdirs in gs://",
    "s3": "data and workdirs in s3://",
    "aot": "benchmark aot",
    "tf": "tfds build, tfds.load",
    "torch": "interop of .pth files, export --format=torch, benchmark step --torch",
    "onnx": "export --format=onnx",
    "sklearn": "amr_jax.sklearn",
    "hub": "hf://USER/REPO, export --push",
    "show": "show map",
    "wandb": "config.writers=wandb",
    "mlflow": "config.writers=mlflow",
    "docs": "the site of the documentation",
    "test": "the tests",
}
PROGRAMS = {"ffmpeg": "show --out=FILE.mp4, demo", "chromium": "tests of HTML reports"}

_REQUIREMENT = re.compile(r"([\w.\-]+)(?:\[([\w,\-]+)\])?[^;]*(?:;.*extra == ['\"]([\w\-]+)['\"])?")
_COPY = re.compile(r"[0-9a-f]{16}")  # folders that `paths.on_disk` makes
_DEPTH = 3  # folders below the current one in which caches of compiled programs are looked for


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.doctor`."""
    if flags.clear_cache:
        clear(caches())
        return
    show("amr_jax", f"{amr_jax.__version__}, Python {platform.python_version()}")
    show("machine", f"{platform.platform()}, {os.cpu_count()} cores")
    total, free = machine.memory()
    show("memory", f"{machine.gigabytes(free)} free of {machine.gigabytes(total)}")
    for name, folder in {"disk": Path.cwd(), "disk of caches": Path(paths.cache())}.items():
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        space = shutil.disk_usage(existing)
        show(name, f"{machine.gigabytes(space.free)} free at {existing}")
    needed, extras = requirements()
    show("packages", ", ".join(f"{name} {version(name) or 'MISSING'}" for name in needed))
    for extra, packages in sorted(extras.items()):
        show(f"[{extra}]", state_of(extra, packages))
    for program, use in PROGRAMS.items():
        show(program, shutil.which(program) or f"not installed; for {use}")
    found = caches()
    for place, (what, size) in found.items():
        show("cache", f"{machine.gigabytes(size)} {what}: {place}")
    if not found:
        show("cache", "none found")
    if flags.data_dir:
        for line in prepared(flags.data_dir):
            show("data", line)
    if not flags.no_devices:
        show("devices", devices())


def show(name: str, text: str) -> None:
    """Prints one line of the list."""
    print(f"{name:<15} {text}", flush=True)


def requirements() -> tuple[list[str], dict[str, list[str]]]:
    """The packages that every command needs; those of each extra.

    A requirement with an extra of its own, jax[cuda13], is met by the plug-in that it installs.
    """
    needed, extras = [], {}
    for text in metadata.requires("amr_jax") or ():
        name, plugin, extra = _REQUIREMENT.match(text).groups()
        if extra and name == "jax" and plugin:
            known = {"tpu": "libtpu"}
            names = [known.get(kind, f"jax-{kind}-plugin") for kind in plugin.split(",")]
            extras.setdefault(extra, []).extend(names)
        elif extra:
            extras.setdefault(extra, []).append(name)
        else:
            needed.append(name)
    return ["jaxlib", *needed], extras


def version(package: str) -> str | None:
    """The installed version of a package; None if it is absent."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def state_of(extra: str, packages: list[str]) -> str:
    """Which packages of an extra are here, or what is missing and how to get it."""
    found = {name: version(name) for name in packages}
    use = f"; for {EXTRAS[extra]}" if extra in EXTRAS else ""
    if missing := [name for name, known in found.items() if known is None]:
        return f"missing: {', '.join(missing)} (pip install 'amr_jax[{extra}]'){use}"
    return ", ".join(f"{name} {known}" for name, known in found.items()) + use


def caches() -> dict[Path, tuple[str, int]]:
    """Folders of caches -> what is in them, and their bytes."""
    found = {}
    copies = Path(paths.cache())
    if copies.is_dir():
        found[copies] = "of records copied from buckets", size_of(copies)
    if (named := os.environ.get("JAX_COMPILATION_CACHE_DIR")) and Path(named).is_dir():
        what = "of compiled programs (JAX_COMPILATION_CACHE_DIR; not cleared here)"
        found[Path(named)] = what, size_of(Path(named))
    for folder in compiled_below(Path.cwd(), _DEPTH):
        found.setdefault(folder, ("of compiled programs", size_of(folder)))
    home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    hub = Path(os.environ.get("HF_HUB_CACHE") or f"{home}/hub").expanduser()
    if hub.is_dir():
        found[hub] = "of models from the Hugging Face hub (not cleared here)", size_of(hub)
    return found


def compiled_below(folder: Path, depth: int) -> Iterator[Path]:
    """Caches of compiled programs beside workdirs, in a folder and those below it."""
    try:
        inner = [x for x in folder.iterdir() if x.is_dir() and not x.is_symlink()]
    except OSError:  # not readable
        return
    for path in sorted(inner):
        if path.name == COMPILED:
            yield path
        elif depth and not path.name.startswith("."):
            yield from compiled_below(path, depth - 1)


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; those that vanish meanwhile do not count."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(where, name).lstat().st_size
            except OSError:
                continue
    return total


def clear(found: dict[Path, tuple[str, int]]) -> None:
    """Removes the caches that this package made, and tells each; nothing else.

    These are folders called `.jax_compilation_cache`, and copies of records below
    `paths.cache()`: names of 16 hexadecimal digits. Whatever else is there stays.
    """
    total = 0
    for place in found:
        if place == Path(paths.cache()):
            inner = [x for x in sorted(place.iterdir()) if _COPY.fullmatch(x.name) and x.is_dir()]
        elif place.name == COMPILED and str(place) != os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            inner = [place]
        else:
            continue
        for folder in inner:
            size = size_of(folder)
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise UserError(f"{folder}: could not be removed ({error}).") from error
            total += size
            print(f"removed {folder} ({machine.gigabytes(size)})", flush=True)
    print(f"cleared {machine.gigabytes(total)}", flush=True)


def prepared(data_dir: str) -> Iterator[str]:
    """A line for each prepared set below `data_dir`; `UserError` if there is none."""
    root = paths.absolute(data_dir)
    names = {row.records: name for name, row in datasets.DATASETS.items() if name != "synthetic"}
    folders = list(record_files.folders(root))
    if not folders:
        raise UserError(f"--data_dir={data_dir}: found no records; expected those of `prepare`.")
    for folder in folders:
        records = str(folder.parent.relative_to(root))
        try:
            splits = json.loads((folder / record_files.INFO_FILE).read_text())["splits"]
            sizes = {x["name"]: sum(map(int, x["shardLengths"])) for x in splits}
            text = ", ".join(f"{split} {size:,}" for split, size in sizes.items())
        except (OSError, ValueError, KeyError, TypeError) as error:
            text = f"not complete ({error}): prepare it again with --overwrite"
        own = folder.parent if records.startswith("custom/") else records
        yield f"{names.get(records, own)}: {text} sequences"


def devices() -> str:
    """The devices that JAX finds, with their memory."""
    import jax

    try:
        found = jax.devices()
    except RuntimeError as error:  # of a platform that JAX_PLATFORMS names, or a broken driver
        return f"none: {str(error).splitlines()[0]}"
    memory = (found[0].memory_stats() or {}).get("bytes_limit")
    limit = f", {machine.gigabytes(memory)} each" if memory else ""
    return f"{len(found)} × {found[0].device_kind} ({found[0].platform}){limit}"
