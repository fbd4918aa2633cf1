"""Command: what a file, folder, archive, folder of records or workdir holds, and what comes next.

amr-jax info PATH [--draw=OUT.png]

Of a folder, some files are read. Only `--draw` imports JAX.
"""

if __name__ == "__main__":
    from amr_jax.__main__ import script

    script("info")


import argparse
import collections
import json
import os
import re
import shlex
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from amr_jax.data import contents, datasets, record_files
from amr_jax.data.build import folder_names, own_files
from amr_jax.data.readers import files, findings, labels, layout_file
from amr_jax.data.readers.search import Search
from amr_jax.errors import BadFile, UserError, readable
from amr_jax.skeleton.layouts import LAYOUTS

_SAMPLE = 20  # files of a folder that are read
_Lines = Iterator[tuple[str, str]]


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.info`."""
    if len(flags.paths) != 1:
        raise UserError(f"found {len(flags.paths)} paths; expected one: amr-jax info PATH.")
    path = Path(flags.paths[0]).expanduser()
    if not path.exists() and files.of_path(str(path)).member is None:
        raise UserError(f"{path}: found no such file or folder.")
    folders = list(record_files.folders(path)) if path.is_dir() else []
    is_run = (path / "config.json").is_file()
    if (folders or is_run) and flags.draw:
        raise UserError(f"--draw is for raw files; for {path} see `amr-jax show` (docs/show.md).")
    found = _Raw(str(path)) if not (folders or is_run) else None
    for name, text in found.lines() if found else _run(path) if is_run else _records(path, folders):
        print(f"{name:11}{text}", flush=True)
    if flags.draw:
        found.draw(flags.draw)


class _Raw:
    """Raw files: one, or those of a folder or an archive."""

    def __init__(self, path: str):
        self.path, raw = path, files.of_path(path)
        if raw.member or (os.path.isfile(path) and not path.lower().endswith(".zip")):
            self.everything = [raw]
            self.sequences = self.everything
        else:
            self.everything = Search(path, "files of skeletons").files
            others = (".skeleton", ".mat", ".txt", *own_files.PICKLES)
            self.sequences = own_files.of_sequences(self.everything) or [
                raw for raw in self.everything if raw.name.lower().endswith(others)
            ]
        table = [raw for raw in self.everything if raw.name.lower() == labels.LABELS_FILE]
        self.tasks = own_files.tasks(Path(path), self.sequences, table[0] if table else None)[0]
        self.held: list[tuple[files.RawFile, contents.Held]] = []

    def lines(self) -> _Lines:
        """Reads some files, and tells what they hold."""
        kinds = collections.Counter(os.path.splitext(raw.name)[1] for raw in self.everything)
        counted = ", ".join(f"{count:,} {kind or 'others'}" for kind, count in kinds.most_common(6))
        yield "files", f"{readable(self.path)}: {counted or 'none'}"
        bad: list[BadFile] = []
        for task in self.tasks[:: -(-len(self.tasks) // _SAMPLE) or 1]:
            try:
                self.held.append((task.raw, contents.of_task(task)))
            except BadFile as error:
                bad.append(error)
        if not self.held:
            raise bad[0] if bad else UserError(f"{readable(self.path)}: found no skeletons.")
        if len(self.tasks) > 1:
            yield "read", f"{len(self.held)} of {len(self.tasks):,} clips or tables"
        for error in bad[:3]:
            yield "left out" if isinstance(error, files.NoBody) else "damaged", str(error)
        yield from self._numbers()
        yield from self._names()
        yield "next", self._next()

    def _numbers(self) -> _Lines:
        held = [one for _, one in self.held]
        joints = [sequence for one in held for sequence in one.joints]
        sizes = [f"{one.layout or 'not told'} ({one.joints[0].shape[2]} joints)" for one in held]
        yield "format", ", ".join(dict.fromkeys(one.title for one in held))
        yield "layout", ", ".join(dict.fromkeys(sizes))
        yield "channels", ", ".join(dict.fromkeys(one.channels for one in held))
        frames, people = ([one.shape[i] for one in joints] for i in (0, 1))
        yield "sequences", f"{len(joints):,}; frames: {_spread(frames)}; people: {_spread(people)}"
        if len({(one.channels, one.joints[0].shape[2]) for one in held}) > 1:
            yield "mixed", "joints or channels differ: expected one kind for one data set"
            return
        channels = held[0].channels
        gaps = [contents.gaps(one, channels) for one in joints]
        lost, without = statistics.mean(share for _, share in gaps), sum(n for n, _ in gaps)
        yield "gaps", f"{without:,} frames without the first person; {lost:.1%} of joints not found"
        for kind, total in findings.total([one.counts for one in held]).items():
            yield "", findings.line(kind, **total)
        ranges = zip("xyz", contents.ranges(joints, channels), strict=False)
        yield "ranges", ", ".join(f"{axis} {low:.3g} to {high:.3g}" for axis, (low, high) in ranges)
        if largest := max((one.scores for one in held if one.scores), default=None):
            told = "no confidences from 0 to 1; --scores tells which is 1 (docs/own_data.md)"
            yield "scores", f"up to {largest:.3g}: {told}"
        yield "unit", f"probably {contents.unit(joints, channels)[0]}"

    def _names(self) -> _Lines:
        """Lines about labels, splits and subjects."""
        if self.held[0][1].dataset != "custom":
            return
        rows = [row for task in self.tasks for row in task.rows.values()]
        where = f"in {labels.LABELS_FILE}" if rows else "in the files that were read"
        rows = rows or [texts for _, one in self.held for texts in one.texts]
        of_folders = dict(
            zip(
                ("label", "split"), folder_names.of_names([t.name for t in self.tasks]), strict=True
            )
        )
        for key in ("label", "split", "subject"):
            values, place = [row[key] for row in rows if row.get(key)], where
            if not values and of_folders.get(key):
                values, place = of_folders[key], "by folder"
            none = "none; a fifth of labelled data is set aside for testing"
            text = f"{folder_names.counted(values)} {place}" if values else "none"
            yield f"{key}s", none if key == "split" and not values else text

    def _next(self) -> str:
        """The command that comes next."""
        first, (raw, _) = self.held[0][1], self.held[0]
        where = self.path
        if not os.path.exists(where):  # a member of an archive
            where = raw.container
        elif first.dataset != "custom" and os.path.isfile(where) and not where.endswith(".zip"):
            where = os.path.dirname(where) or "."
        elif raw.name.lower().endswith(own_files.PICKLES):
            where = str(raw)
        command = ["amr-jax", "prepare", f"--dataset={first.dataset}"]
        command += [f"--manual_dir={where}", "--data_dir=DATA"]
        if first.dataset == "custom":
            name = re.sub(r"[^\w.-]", "_", Path(where).stem).strip("._-")
            command += [f"--name={name if name.isascii() and name else 'mydata'}"]
            command += [f"--layout={first.layout or 'LAYOUT'}", f"--channels={first.channels}"]
            joints = [sequence for _, one in self.held for sequence in one.joints]
            _, factor = contents.unit(joints, first.channels)
            command += [f"--scale={factor:g}"] if factor != 1 else []
            scales = [one.scale_of_scores for _, one in self.held if one.scores]
            command += [f"--scores={max(scales)}"] if scales else []
        return shlex.join(command)

    def draw(self, out: str) -> None:
        """Draws the first sequence that was read as a film strip."""
        from amr_jax.pictures import skeleton, style
        from amr_jax.run import paths, workdir

        raw, held = self.held[0]
        if not held.layout:
            raise UserError(
                f"--draw: {raw} has no known layout: see `amr-jax show clip --layout=`."
            )
        workdir.refuse_own_file(out, "--draw")
        paths.refuse_input(out, "--draw", [each.container for each in self.everything])
        layout = LAYOUTS.get(held.layout) or layout_file.find(held.layout)
        title = f"{raw.name}: {held.title}"
        figure = skeleton.film_strip(held.joints[0], layout, title=title, channels=held.channels)
        style.save(figure, out)
        print(f"{out}: {len(held.joints[0])} frames of {raw}")


def _spread(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    middle = f" (median {statistics.median(numbers):g})" if high > low + 1 else ""
    return f"{low:,}" if low == high else f"{low:,} to {high:,}{middle}"


def _records(path: Path, folders: Sequence[Path]) -> _Lines:
    """Lines about prepared records."""
    known = {row.records: name for name, row in datasets.DATASETS.items() if name != "synthetic"}
    for folder in folders:
        try:
            info = json.loads((folder / record_files.INFO_FILE).read_text())
            sizes = {x["name"]: sum(map(int, x["shardLengths"])) for x in info["splits"]}
            records = f"{info['name']}/{folder.parent.name}"
            shape = json.loads((folder / "features.json").read_text())["featuresDict"]["features"]
            size = shape["joints"]["tensor"]["shape"]["dimensions"]
            classes = (folder / "label.labels.txt").read_text().split("\n")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{folder}: records that are not complete ({error}).") from error
        yield "records", f"{folder}: {', '.join(f'{k} {n:,}' for k, n in sizes.items())} sequences"
        made = folder / "metadata.json"
        of_own = json.loads(made.read_text()) if made.is_file() else {}
        name = known.get(records, str(folder.parent.absolute()))
        layout = of_own.get("layout") or (records in known and datasets.get(name).layout.name)
        layout = layout["name"] if isinstance(layout, dict) else layout or "not told"
        yield "joints", f"{layout}, {size[2]} joints × {size[3]} numbers, up to {size[1]} people"
        classes = [one for one in classes if one]
        yield "classes", f"{len(classes)}: {', '.join(classes[:8])}{', …' * (len(classes) > 8)}"
        data = "" if records not in known else f" --config.data_dir={_data_dir(folder, records)}"
        yield "next", f"amr-jax pretrain --config=amr:{shlex.quote(name)}{data} --workdir=RUN"


def _data_dir(folder: Path, records: str) -> str:
    return shlex.quote(str(folder.absolute().parents[records.count("/") + 1]))


def _run(path: Path) -> _Lines:
    """Lines about the workdir of a run or an evaluation."""

    def read(name: str) -> dict:
        try:
            return json.loads((path / name).read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path / name}: found no JSON that can be read ({error}).") from error

    config, where = read("config.json"), shlex.quote(str(path))
    data = f"{config.get('dataset')}"
    if "method" in config:
        steps = [p.name for p in (path / "checkpoints").glob("*") if p.name.isdecimal()]
        newest = max(map(int, steps), default=None)
        yield (
            "workdir",
            f"{path}: pre-training by {config['method']} on {data}, seed {config['seed']}",
        )
        yield "checkpoint", "none yet" if newest is None else f"of step {newest:,}"
        tested = f"--config.pretrained={where} --workdir={where}/linear"
        yield "next", f"amr-jax evaluate --config=linear:{shlex.quote(data)} {tested}"
        return
    yield "workdir", f"{path}: {config.get('protocol') or 'comparison'} on {data}"
    if (path / "results.json").is_file():
        encoders = read("results.json").get("encoders", {})
        for encoder, numbers in encoders.items():
            if "top1" in numbers:
                yield "result", f"{encoder} encoder: top-1 {numbers['top1']:.1%}"
    if (path / "model.safetensors").is_file():
        yield "next", f"amr-jax predict --checkpoint={where} FILE…"
