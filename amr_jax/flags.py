"""The flags of every command: a function for each, whose docstring is its line in --help.

Nothing here imports JAX: --help answers at once. What a command alone needs is imported in its
function.
"""

import importlib.util
import pkgutil

from amr_jax.run import cli


def pretrain(parser: cli.Parser) -> None:
    """Pre-trains an encoder by a method."""
    _add_config(parser, "the run's folder; the same folder resumes the run")
    cli.add_host_flags(parser)


def evaluate(parser: cli.Parser) -> None:
    """Evaluates a pre-trained encoder, and a random one, by a protocol."""
    _add_config(parser, "folder for the results")
    cli.add_host_flags(parser)


def compare(parser: cli.Parser) -> None:
    """Pre-trains and evaluates several methods alike, and writes tables."""
    _add_config(parser, "folder for rows and tables; the same folder resumes")


def sweep(parser: cli.Parser) -> None:
    """Pre-trains and evaluates a method at every point of a grid over its settings."""
    _add_config(parser, "folder for points and table; the same folder resumes")
    parser.add_files("values", "KEY=VALUE,VALUE: keys of the config, as in optim.lr=1e-4,1e-3")
    parser.add("protocols", str, "linear,knn", "protocols that judge every point")
    parser.add("seeds", cli.at_least(1), 1, "seeds of every point: --config.seed and the next ones")
    parser.add(
        "judge_on",
        str,
        None,
        "default: validation, a part of the training split, where the data set has one",
        choices=("validation", "test"),
    )


def prepare(parser: cli.Parser) -> None:
    """Turns the raw files of a data set into records, or verifies records."""
    from amr_jax.data.readers import ntu
    from amr_jax.data.readers.files import ON_BAD_FILE
    from amr_jax.skeleton import layouts

    parser.add("dataset", str, None, f"one of {', '.join(builders())}")
    parser.add("manual_dir", cli.any_name, None, "folder of the raw files or archives")
    parser.add_needed("data_dir", "folder of the records")
    parser.add(
        "on_bad_file", str, "fail", "skip: leave bad files out and list them", choices=ON_BAD_FILE
    )
    parser.add("num_workers", cli.at_least(1), None, "parsing processes; default one per core")
    parser.add_switch("overwrite", "replace records that are there")
    parser.add_switch("verify", "only read all records of --data_dir and name damaged ones")
    parser.add(
        "gaps",
        str,
        None,
        "NTU RGB+D, a body that leaves and returns: contiguous (default) closes the gap, as in "
        "published results; true_time keeps each frame at its time",
        choices=ntu.GAPS,
    )
    custom = parser.add_argument_group("flags of --dataset=custom")
    for name, meaning in {
        "name": "name of the data set; its records go to DATA_DIR/custom/NAME",
        "layout": f"joints: one of {', '.join(layouts.LAYOUTS)}, or the path of a .json",
        "channels": "numbers of a joint: xyz (metres), xy or xyc (in an image; c: confidence)",
        "scale": "factor that converts coordinates to metres (0.001 for millimetres)",
        "scores": "xyc: the score that is confidence 1, such as 10 for RTMPose; larger ones are "
        "cut; xy: 'drop' leaves out a third number, the score",
        "people": "key points of detectors: keep the people who are seen in most frames, such as 1",
        "train_split": "split of the files to train on, such as xsub_train",
        "test_split": "split of the files to test on, such as xsub_val",
        "test_fraction": "data without splits: the part to set aside for testing; by subject where "
        "the files name subjects; default 0.2 for data with labels, 0: none",
        "split_seed": "another number sets other sequences aside; default 0",
    }.items():
        custom.add_argument(f"--{name}", help=meaning)


_OF_SEVERAL = (
    "dataset",
    str,
    None,
    "an encoder pre-trained on several sets: whose joints the sequences have, such as kard",
)


def predict(parser: cli.Parser) -> None:
    """Predicts the actions of skeleton files, or writes their features."""
    from amr_jax.config.evaluation import READOUTS
    from amr_jax.data.readers import ntu
    from amr_jax.data.readers.files import ON_BAD_FILE

    parser.add_needed(
        "checkpoint",
        "workdir of an evaluation, its model.safetensors, or a model by name: docs/zoo.md",
    )
    parser.add("step", int, None, "checkpoint of a pre-training run; default: the newest")
    parser.add(*_OF_SEVERAL)
    parser.add("json", str, None, "file for predictions as JSON lines; '-': standard output")
    parser.add("embeddings", str, None, "file for features (.npz) instead of predictions")
    parser.add(
        "readout",
        str,
        None,
        "--embeddings: mean of all tokens (default), or as in evaluations by joint",
        choices=READOUTS,
    )
    for name, kind, meaning in (
        ("window", str, "label windows of long files: frames, such as 60, or seconds, such as 2s"),
        ("stride", str, "from one window to the next, likewise; default: half a window"),
        ("fps", float, "--window: frames per second, for seconds"),
        ("draw", str, "--window: a picture of the labels over time (.png, .pdf, .svg)"),
    ):
        parser.add(name, kind, None, meaning)
    parser.add(
        "on_bad_file", str, "fail", "skip: leave bad files out and name them", choices=ON_BAD_FILE
    )
    parser.add(
        "labels",
        cli.any_name,
        "",
        "PKU-MMD: a label file, or a folder with one for each video; each instance is a sequence",
    )
    parser.add("gaps", str, "contiguous", "NTU RGB+D: as in --gaps of prepare", choices=ntu.GAPS)
    parser.add_files("files", "skeleton files, or archive.zip!member", cli.any_name)


def show(parser: cli.Parser) -> None:
    """Draws clips, what pre-training sees, attention, neighbours, features, curves."""
    from amr_jax.config.evaluation import READOUTS

    parser.add_argument(
        "what", nargs="?", help="clip, seen, attention, neighbours, map or curves (docs/show.md)"
    )
    parser.add_files(
        "files", "clip, seen, attention: skeleton files; curves: workdirs", cli.any_name
    )
    parser.add_needed("out", "picture to write: .png, .pdf, .svg; clip also .gif, .mp4, .html")
    for name, kind, default, meaning in (
        ("run", str, None, "workdir of a pre-training run (all but clip and curves)"),
        ("step", int, None, "of its checkpoint; default: the newest"),
        ("seed", int, 0, "of crop, rotation and masks"),
        ("data_dir", str, None, "folder of records, instead of files"),
        ("dataset", str, None, "of these records, such as nwucla; default: the run's"),
        ("split", str, "test", "of these records"),
        ("index", cli.at_least(0), None, "number of the sequence in the split or file, from 0"),
        (
            "layout",
            str,
            None,
            "arrays: joints, a name such as coco_17 or a .json; default by shape",
        ),
        ("columns", cli.at_least(1), 8, "frames of a film strip"),
        ("title", str, None, "above the picture; default: the clip's name"),
        ("rows", cli.at_least(1), 5, "neighbours: clips to draw those of"),
        ("metrics", str, "loss", "curves: one or several: loss,grad_norm"),
        ("over", str, "step", "curves: the horizontal axis, step or epoch"),
        ("dpi", cli.at_least(30), 200, "pixels per inch of a .png"),
        ("fps", float, 30.0, "frames per second of an animation"),
        ("azimuth", float, 25.0, "degrees that the viewer walks around the person"),
        ("elevation", float, 8.0, "degrees that the viewer looks down"),
    ):
        parser.add(name, kind, default, meaning)
    parser.add("readout", str, "mean", "neighbours, map: as in evaluations", choices=READOUTS)
    parser.add("method", str, "tsne", "map: how features become places", choices=("tsne", "umap"))
    parser.add("width", str, "page", "of a paper: 3.4 or 7 inches", choices=("column", "page"))
    parser.add("channels", str, None, "arrays: numbers of a joint", choices=("xyz", "xy", "xyc"))
    up = ("auto", "x", "-x", "y", "-y", "z", "-z")
    parser.add("up", str, "auto", "the axis of space that points up", choices=up)


def demo(parser: cli.Parser) -> None:
    """Estimates the poses in a video, and predicts and draws its actions."""
    parser.add_needed("checkpoint", "workdir of an evaluation, its model.safetensors, or a name")
    parser.add_needed("out", "folder for the annotated video, timeline, predictions and poses")
    parser.add(
        "pose_python",
        str,
        None,
        "a Python that has mediapipe and imageio-ffmpeg; default AMR_POSE_PYTHON, then this one",
    )
    parser.add("window", str, None, "classified at once: frames, or seconds, as in predict; 2s")
    parser.add("stride", str, None, "from one window to the next, likewise; default: half a window")
    parser.add_files("files", "the video")


def export(parser: cli.Parser) -> None:
    """Writes a trained model into one file."""
    from amr_jax.config.evaluation import READOUTS

    parser.add_needed(
        "checkpoint", "workdir of an evaluation or pre-training, a model file, or a model by name"
    )
    parser.add_needed(
        "format", "kind of file", choices=("safetensors", "stablehlo", "onnx", "torch")
    )
    parser.add_needed("out", "the file to write")
    parser.add("step", int, None, "checkpoint of a pre-training run; default: the newest")
    parser.add("push", str, None, "safetensors: also upload it to USER/REPO of Hugging Face's hub")
    parser.add(*_OF_SEVERAL)
    parser.add(
        "readout",
        str,
        None,
        "stablehlo or onnx of an encoder alone: as in --readout of predict",
        choices=READOUTS,
    )


def interop(parser: cli.Parser) -> None:
    """Imports published PyTorch weights into a workdir, or exports them."""
    parser.add(
        "import", str, None, "weights to read (.pth, .ckpt, .npz, …), or a model of this package"
    )
    parser.add("export", str, None, "file to write, under the published names")
    parser.add_needed("workdir", "the run's folder; --import makes it")
    for name, kind, meaning in (
        ("dataset", str, "what the weights were trained on, such as ntu60_xsub (--import)"),
        ("key", str, "which weights, if the file has several models: 'teacher' (--import)"),
        ("method", str, "how they were trained: mamp (default) or skeleton_mae (--import)"),
        ("num_heads", cli.at_least(1), "attention heads of every block; default 8 (--import)"),
        (
            "data_dir",
            str,
            "where evaluations find records; default ~/tensorflow_datasets (--import)",
        ),
        ("step", int, "checkpoint; default: the newest (--export)"),
    ):
        parser.add(name, kind, None, meaning)


def ensemble(parser: cli.Parser) -> None:
    """Sums the class probabilities of several evaluations."""
    parser.add_files("folders", "workdirs of evaluations with logits, on one test split")
    parser.add("weights", str, None, "a number for each workdir: 1,0.6; default: 1 for each")
    parser.add_needed("workdir", "folder for results.json")


def synthetic(parser: cli.Parser) -> None:
    """Writes the built-in data set, in the format and names of NTU RGB+D 60."""
    from amr_jax.synthetic.writer import MAX_TAKES

    parser.add_needed("out", "folder to write; new or empty")
    parser.add("seed", int, 0, "the same seed gives the same bytes")
    parser.add("performers", int, 10, "1 to 40")
    parser.add("takes", int, 2, f"of each action by each performer, 1 to {MAX_TAKES}")
    parser.add("num_workers", int, None, "processes; default one per core")


def doctor(parser: cli.Parser) -> None:
    """Tells what is installed, what is missing for which command, and what fills the disk."""
    parser.add("data_dir", str, None, "also list the prepared sets in this folder")
    parser.add_switch("no_devices", "do not ask for devices: an answer at once")
    parser.add_switch("clear_cache", "remove our caches: compiled programs, copies of records")


def info(parser: cli.Parser) -> None:
    """Tells what a file, folder, archive or workdir holds, and which command comes next."""
    parser.add("draw", str, None, "a picture of the first sequence: .png, .pdf or .svg")
    parser.add_files("paths", "a file, a folder, an archive, or archive.zip!member", cli.any_name)


def benchmark(parser: cli.Parser) -> None:
    """Measures speed and memory on this device, or models them for others."""
    del parser  # its sub-commands have flags of their own


def builders() -> list[str]:
    """The data sets that `prepare` knows: packages in tfds_builders/, which are not imported."""
    folder = importlib.util.find_spec("tfds_builders").submodule_search_locations
    return sorted(found.name for found in pkgutil.iter_modules(folder) if found.ispkg)


def _add_config(parser: cli.Parser, workdir: str) -> None:
    parser.add_needed(
        "config", "a config by name or file, and its argument: amr:nwucla, configs/amr.py:nwucla"
    )
    parser.add_needed("workdir", workdir)
    parser.epilog = "--config.KEY=VALUE overrides a key of the config, such as --config.seed=1."


_ALL = (
    prepare, pretrain, evaluate, predict, demo, show, export, compare, sweep, ensemble, interop,
    synthetic, benchmark, doctor, info,
)  # fmt: skip
COMMANDS = {function.__name__: function for function in _ALL}
