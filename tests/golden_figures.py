"""Golden figures: what the commands give, recorded once and compared after a change of the code.

    python tests/golden_figures.py record DIR [--only=GROUP]
    python tests/golden_figures.py compare DIR [--only=GROUP]

Groups: data, losses, protocols, using. All figures come from the public commands, from
`amr_jax.pretrain.run` and from the files that these write, so the script outlives moves of modules.
`compare` repeats everything in a scratch folder and prints one line per figure. Texts and integers
must be equal. Other numbers may differ by 1e-5 of the largest magnitude in their array (gradient
norms by 1e-4, figures of bfloat16 by 2⁻⁸). On the machine and with the libraries that
`DIR/made_with.json` names, expect equal bits; elsewhere rounding differs. The exit status is 1 if a
figure is missing or beyond tolerance. tests/golden holds the figures of version 0.1.0; to compare
all of them takes 10 to 20 minutes.

The repository is the parent of this file's folder; `--repository=DIR2` names another. Compiled
programs are kept in the scratch folder, or where JAX_COMPILATION_CACHE_DIR says.
"""

import argparse
import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import numpy as np

TOLERANCE, GRADIENT_TOLERANCE = 1e-5, 1e-4
BFLOAT16_TOLERANCE = 2**-8  # a sum in another order rounds differently, and training carries it on
STEPS = 20
CLOCKS = ("step", "time", "timed_seconds", "timed_steps", "sequences_per_s")
SMALL = {"encoder.num_frames": 24, "encoder.width": 16, "model.decoder_width": 16, "epochs": 5,
         "checkpoint.epochs": 100, "input.absent_frames": "counted"}  # fmt: skip
METHODS = {
    "amr": ("amr", {}),
    "skeleton_mae": ("skeleton_mae", {}),
    "mamp": ("mamp", {}),
    "nat": ("nat", {}),
    "nat_contrast": ("nat", {"model.contrast": 0.1}),
    "sjepa": ("sjepa", {}),
    "gfp": ("gfp", {"model.levels": (1, 3, 6)}),
}
# AMR with settings that no method has by itself: devices, changes.
VARIANTS = {
    "ema_accumulate_clip_float32": (1, {"optim.ema_decay": 0.9, "optim.accumulate": 2,
        "optim.clip_norm": 0.5, "input.storage": "float32", "encoder.drop_path": 0.2}),
    "bone_repeat_joint_target": (1, {"input.stream": "bone", "input.bodies": "all",
        "input.second_body": "repeat", "model.target": "joint",
        "model.normalisation": "timestamps"}),
    "motion_fsdp": (8, {"input.stream": "motion", "fsdp": 2}),
    "bfloat16": (1, {"dtype": "bfloat16"}),
}  # fmt: skip
PATHS = [(b, m, n) for n in (1, 8) for b in ("packed", "all") for m in ("resident", "stream")]
HALF = [PATHS[i] for i in (0, 3, 5, 6)]  # every two of bodies, mode and devices meet in these
# Version 0.1.0's fine-tuning. It dropped features after the means, which no setting brings back:
# these figures were recorded with its code and nothing dropped in the head.
FINETUNING = {"head.dropout": 0.0, "optim.min_lr": 1e-6, "optim.scratch_layer_decay": 0.8}
EVALUATIONS = {
    "linear": ("linear", {}),
    "linear_augmented_all": ("linear", {"features": "augmented", "epochs": 2, "bodies": "all"}),
    "knn": ("knn", {}),
    "retrieval": ("retrieval", {}),
    "finetune": ("finetune", FINETUNING),
    "semi": ("semi", {**FINETUNING, "fraction": 0.5, "epochs": 2}),
    # To own data, of other joints. Only small sets have a learning rate of their own.
    "transfer": ("transfer", {**FINETUNING, "num_frames": 48, "optim.lr": 5e-4}),
}
RESULTS = ("encoders", "train_sequences", "test_sequences", "num_classes", "adaptation")

# Programs for processes of their own: this script itself needs nothing but NumPy.
TRAIN = """
import importlib, json, sys
import jax
from amr_jax import pretrain
for method, folder, changes in json.load(sys.stdin):
    config = importlib.import_module("configs." + method).get_config("synthetic,runlocal")
    config.update_from_flattened_dict(changes)
    pretrain.run(config, folder)
    jax.clear_caches()
"""
READ = """
import json, sys, zlib
import numpy as np
import tensorflow_datasets as tfds
source = tfds.builder_from_directory(sys.argv[1]).as_data_source(sys.argv[2])
def crc32(record):
    return zlib.crc32(b"".join(np.asarray(record[name]).tobytes() for name in sorted(record)))
print(json.dumps([crc32(source[i]) for i in range(len(source))]))
"""
CALL = """
import sys
import jax.export
import numpy as np
program = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
given = np.load(sys.argv[2])
np.save(sys.argv[3], program.call(given["joints"], given["length"]))
"""


def pseudo_random(*shape: int) -> np.ndarray:
    """float32 numbers in [-0.5, 0.5), the same everywhere."""
    numbers = np.arange(np.prod(shape), dtype=np.int64)
    numbers = (numbers * 7919 % 2003 + numbers // 3) % 1009 / 1009 - 0.5
    return numbers.astype(np.float32).reshape(shape)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def course(folder: Path, count: int | None = None) -> dict[str, np.ndarray]:
    """Every column of a folder's metrics.jsonl but clocks, of the first `count` lines."""
    rows = read_lines(folder / "metrics.jsonl")
    names = {name: None for row in rows for name in row if name not in CLOCKS}
    return {name: np.array([row[name] for row in rows if name in row][:count]) for name in names}


def flat(tree, prefix: str) -> dict:
    """The leaves of nested dicts and lists, named by their paths."""
    if not isinstance(tree, dict | list):
        return {prefix: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    leaves = [flat(value, f"{prefix}/{name}") for name, value in items]
    return {name: value for leaf in leaves for name, value in leaf.items()}


class Scratch:
    """A folder to work in; what several groups need is made when it is first asked for."""

    def __init__(self, folder: Path, repository: Path):
        self.folder, self.repository = folder, repository

    def python(self, *arguments, devices: int = 1, text: str | None = None) -> str:
        """Runs Python on the repository's code; returns what it prints."""
        flags = f"--xla_force_host_platform_device_count={devices}" if devices > 1 else ""
        env = {"JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"), **os.environ}
        env |= {"PYTHONPATH": str(self.repository), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
        ended = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=self.repository, env=env, input=text, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode:
            raise RuntimeError(f"{' '.join(map(str, arguments))}\n{ended.stderr[-3000:]}")
        return ended.stdout

    def command(self, command: str, /, *arguments, **flags) -> str:
        flags = [f"--{name}={value}" for name, value in flags.items()]
        return self.python("-m", f"amr_jax.{command}", *flags, *arguments)

    def configured(self, command: str, file: str, name: str, changes: dict) -> Path:
        """A command with `configs/FILE`, changed; returns its workdir, called `name`."""
        flags = {"config": f"configs/{file}", "workdir": self.folder / name}
        self.command(command, **flags, **{f"config.{k}": value for k, value in changes.items()})
        return flags["workdir"]

    @functools.cached_property
    def raw(self) -> Path:
        """150 files of the built-in data: 25 actions, 2 performers, 3 cameras."""
        self.command("synthetic", out=self.folder / "raw", performers=2, takes=1, num_workers=1)
        return self.folder / "raw"

    @functools.cached_property
    def data(self) -> Path:
        """Records of the raw files, and of 18 sequences in the form of a user's own."""
        own, data = self.folder / "own", self.folder / "data"
        own.mkdir()
        for i in range(18):
            steps = pseudo_random(18, 30 + i, 1, 20, 3)[i] * np.float32(0.01 * (1 + i % 3))
            joints, split = steps.cumsum(axis=0) + pseudo_random(20, 3), ["train", "test"]
            np.savez(own / f"{i:02}.npz", joints=joints, label=i % 3, split=split[i // 12])
        flags = {"data_dir": data, "num_workers": 1}
        self.command("prepare", dataset="ntu_rgbd60", manual_dir=self.raw, **flags)
        flags |= {"name": "own", "layout": "kinect_20", "channels": "xyz"}
        self.command("prepare", dataset="custom", manual_dir=own, **flags)
        self.command("prepare", "--verify", data_dir=data)
        return data

    @functools.cached_property
    def run(self) -> Path:
        changes = {**SMALL, "data_dir": self.data}
        return self.configured("pretrain", "amr.py:synthetic,runlocal", "run", changes)

    @functools.cache  # noqa: B019
    def evaluation(self, name: str) -> Path:
        config, changes = EVALUATIONS[name]
        dataset = f"{self.data}/custom/own" if name == "transfer" else "synthetic"
        file, changes = f"{config}.py:{dataset},runlocal", {"pretrained": self.run, **changes}
        return self.configured("evaluate", file, f"evaluation_{name}", changes)


def data(scratch: Scratch) -> dict:
    """Raw files, all files of records, and the crc32 of every record that is read from them."""
    raw = hashlib.sha256()
    for path in sorted(scratch.raw.glob("*.skeleton")):
        raw.update(path.name.encode() + path.read_bytes())
    figures = {"raw_sha256": raw.hexdigest()}
    for name in ("ntu_rgbd60/xsub", "ntu_rgbd60/xview", "custom/own"):
        folder = scratch.data / name / "1.0.0"
        checksums = json.loads((folder / "checksums.json").read_text())
        # The first names the module that made it; the second tells more in 0.3.0 than in 0.1.0.
        del checksums["dataset_info.json"], checksums["metadata.json"]
        shards = sorted(folder.glob("*.array_record-*"))
        figures[name] = {
            "checksums": checksums,
            "sha256": {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in shards},
        }
        for split in ("train", "test"):
            read = json.loads(scratch.python("-c", READ, folder, split))
            figures[name][f"{split}_crc32"] = np.array(read, np.uint32)
    left_out = (scratch.data / "ntu_rgbd60/left_out.json").read_text()
    figures["left_out"] = left_out.replace(str(scratch.folder), "")
    return figures


def losses(scratch: Scratch) -> dict:
    """All that is measured in the first 20 steps of every method.

    AMR takes all eight paths (bodies x mode x devices), the others four of them.
    """
    small = {**SMALL, "data_dir": str(scratch.data), "steps_per_dispatch": 1}
    small["optim.warmup_epochs"] = 1
    runs = {1: {}, 8: {}}
    for name, (config, changes) in METHODS.items():
        for bodies, mode, devices in PATHS if name == "amr" else HALF:
            changes = {**changes, "input.bodies": bodies, "input.mode": mode}
            runs[devices][f"{name}/{bodies}/{mode}/{devices}"] = config, changes
    for name, (devices, changes) in VARIANTS.items():
        runs[devices][f"amr_{name}/{devices}"] = "amr", changes
    figures, folder = {}, scratch.folder / "losses"
    for devices, group in runs.items():
        work = [(c, str(folder / name), {**small, **own}) for name, (c, own) in group.items()]
        scratch.python("-c", TRAIN, devices=devices, text=json.dumps(work))
        figures |= {name: course(folder / name, STEPS) for name in group}
    return figures


def protocols(scratch: Scratch) -> dict:
    """Every protocol on one small run: results, course, scores."""
    figures = {"run": course(scratch.run)}
    for name in EVALUATIONS:
        folder = scratch.evaluation(name)
        results = json.loads((folder / "results.json").read_text())
        for result in results["encoders"].values():
            del result["seconds"]
        figures[name] = {key: results[key] for key in RESULTS} | {"course": course(folder)}
        figures[name]["per_class.csv"] = (folder / "per_class.csv").read_text()
        if (folder / "scores.npz").exists():
            figures[name]["scores"] = dict(np.load(folder / "scores.npz"))
    return figures


def using(scratch: Scratch) -> dict:
    """Predictions and features of ten raw files; a run and a classifier in all export formats."""
    files, out = sorted(scratch.raw.glob("*.skeleton"))[::15], scratch.folder
    linear = scratch.evaluation("linear")
    scratch.command("predict", *files, checkpoint=linear, json=out / "predicted.jsonl")
    predicted = read_lines(out / "predicted.jsonl")
    for row in predicted:
        row["file"] = Path(row["file"]).name
        row["probabilities"] = np.array([best.pop("probability") for best in row["top"]])
    figures = {"predicted": predicted}
    for name, folder in {"run": scratch.run, "linear": linear}.items():
        features, tensors, program = (out / f"{name}.{end}" for end in ("npz", "tensors", "hlo"))
        scratch.command("predict", *files, checkpoint=folder, embeddings=features)
        scratch.command("export", checkpoint=folder, format="safetensors", out=tensors)
        scratch.command("export", checkpoint=folder, format="stablehlo", out=program)
        torch = out / f"{name}_torch.npz"
        scratch.command("export", checkpoint=folder, format="torch", out=torch)
        figures[name] = {
            "features": np.load(features)["features"],
            "safetensors": safetensors(tensors),
            "stablehlo": called(scratch, program),
            "torch": dict(np.load(torch)),
        }
    return figures


def safetensors(path: Path) -> dict:
    """The tensors of a model file, and its description but for where it comes from."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    described = json.loads(header.pop("__metadata__")["amr_jax"])
    del described["digest"], described["provenance"]
    figures = {"description": json.dumps(described, sort_keys=True)}
    for name, row in header.items():
        begin, end = (start + offset for offset in row["data_offsets"])
        figures[name] = np.frombuffer(content[begin:end], np.float32).reshape(row["shape"])
    return figures


def called(scratch: Scratch, program: Path) -> dict:
    """What an exported program says of itself, and returns for three sequences."""
    signature = json.loads(Path(f"{program}.json").read_text())
    del signature["provenance"]
    joints = pseudo_random(3, *(signature[key] for key in "LMVC"))
    length = np.array([joints.shape[1], 60, 90], np.int32)
    joints[1, 60:] = joints[2, 90:] = joints[0, :, 1:] = 0
    given, outputs = scratch.folder / "given.npz", scratch.folder / "outputs.npy"
    np.savez(given, joints=joints, length=length)
    scratch.python("-c", CALL, program, given, outputs)
    return {"signature": json.dumps(signature, sort_keys=True), "outputs": np.load(outputs)}


GROUPS = {"data": data, "losses": losses, "protocols": protocols, "using": using}


def write(folder: Path, group: str, figures: dict) -> None:
    """Arrays to GROUP.npz, everything else to GROUP.json; and what made them."""
    arrays = {name: value for name, value in figures.items() if isinstance(value, np.ndarray)}
    others = {name: value for name, value in figures.items() if name not in arrays}
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{group}.npz", **arrays)
    (folder / f"{group}.json").write_text(json.dumps(others, indent=0, sort_keys=True) + "\n")
    made_with = {name: metadata.version(name) for name in ("jax", "jaxlib", "flax", "numpy")}
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    cpus = [line.partition(": ")[2] for line in cpus if line.startswith("model name")]
    made_with |= {"python": platform.python_version(), "processors": cpus}
    (folder / "made_with.json").write_text(json.dumps(made_with, indent=1) + "\n")


def read(folder: Path, group: str) -> dict:
    others = json.loads((folder / f"{group}.json").read_text())
    return {**others, **np.load(folder / f"{group}.npz")}


def _comparable(name: str, figure) -> np.ndarray:
    """A figure without what may differ: rounding noise, and wording for people."""
    figure = np.asarray(figure)
    if name.endswith(("qkv/bias", "qkv.bias")):
        # Softmax cancels the bias of keys: its gradient is rounding noise, which Adam scales up.
        figure = np.delete(figure.reshape(3, -1), 1, axis=0)
    if name.endswith("signature"):
        signature = json.loads(str(figure))
        del signature["arguments"]
        signature.pop("scores", None)  # new in 0.3.0
        figure = np.asarray(json.dumps(signature, sort_keys=True))
    return figure


def difference(name: str, now, then) -> tuple[str, bool]:
    """What to say of a figure, and whether it is as recorded."""
    if now is None or then is None:
        return "MISSING" if now is None else "new, not recorded", now is not None
    now, then = _comparable(name, now), _comparable(name, then)
    if now.shape != then.shape or now.dtype.kind != then.dtype.kind:
        return f"DIFFERS: {now.shape} {now.dtype}, recorded {then.shape} {then.dtype}", False
    if np.array_equal(now, then):
        return "equal bits", True
    if now.dtype.kind != "f":
        return "DIFFERS", False
    difference = np.abs(now.astype(np.float64) - then).max() / (np.abs(then).max() or 1.0)
    tolerance = GRADIENT_TOLERANCE if name.endswith("grad_norm") else TOLERANCE
    if "bfloat16" in name:
        tolerance = BFLOAT16_TOLERANCE
    right = difference <= tolerance
    return f"largest relative difference {difference:.1e}{'' if right else ' BEYOND'}", bool(right)


def compare(group: str, now: dict, then: dict) -> bool:
    """Prints a line for each figure; returns whether all are as recorded."""
    rights = []
    for name in {**then, **now}:
        text, right = difference(name, now.get(name), then.get(name))
        rights.append(right)
        print(f"{name}: {text}")
    print(f"{group}: {sum(rights)} of {len(rights)} figures are as recorded", flush=True)
    return all(rights)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("action", choices=("record", "compare"))
    parser.add_argument("folder", type=Path, help="of the recorded figures")
    parser.add_argument("--only", choices=GROUPS, help="one group (default: all)")
    own = Path(__file__).resolve().parent.parent
    parser.add_argument("--repository", type=Path, default=own, help=f"default {own}")
    flags = parser.parse_args()
    right = True
    with tempfile.TemporaryDirectory() as folder:
        scratch = Scratch(Path(folder), flags.repository.resolve())
        for group in [flags.only] if flags.only else GROUPS:
            started, figures = time.monotonic(), {}
            try:
                found = flat(GROUPS[group](scratch), group)
                figures = {name: value for name, value in found.items() if value is not None}
            except (RuntimeError, OSError, KeyError) as error:
                if flags.action == "record":
                    raise
                print(f"{group}: FAILED: {error}")
            if flags.action == "record":
                write(flags.folder, group, figures)
            else:
                right &= compare(group, figures, read(flags.folder, group))
            seconds = time.monotonic() - started
            print(f"{group}: {len(figures)} figures, {seconds:.0f} s", flush=True)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
