"""Models on the Hugging Face hub; needs the extra `hub`."""

import os
import re
import tempfile
from pathlib import Path

from amr_jax.errors import UserError
from amr_jax.inference import model_file, zoo
from amr_jax.inference.apply import Model

PREFIX = "hf://"
_REPO = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


def _library():
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            "huggingface_hub is not installed; expected the extra `hub`: pip install 'amr_jax[hub]'"
        ) from error
    return huggingface_hub


def _repository(text: str) -> str:
    name = text.removeprefix(PREFIX)
    if not _REPO.fullmatch(name):
        raise UserError(f"{text}: expected USER/REPO, as in {PREFIX}USER/REPO or …/REPO@REVISION.")
    return name


def fetch(address: str) -> Path:
    """The model file of 'hf://USER/REPO' or 'hf://USER/REPO@REVISION', in the hub's local cache.

    Raises:
      UserError: no such repository, revision or file; no network and nothing in the cache.
    """
    name, _, revision = _repository(address).partition("@")
    library = _library()
    try:
        return Path(
            library.HfApi().hf_hub_download(name, model_file.NAME, revision=revision or None)
        )
    except Exception as error:  # of the hub, of httpx, of the file system
        raise UserError(
            f"{address}: {model_file.NAME} could not be fetched ({_short(error)})."
        ) from error


def push(model: Model, repo: str, private: bool = False) -> str:
    """Uploads a model file and a card; returns the address of the commit.

    The token is that of `hf auth login`, or the variable HF_TOKEN.

    Args:
      model: the model.
      repo: 'USER/REPO'; made if absent.
      private: of a repository that is made.

    Raises:
      UserError: it cannot be written to.
    """
    name = _repository(repo)
    if "@" in name:
        raise UserError(f"{repo}: a revision cannot be pushed to; expected USER/REPO.")
    library, model = _library(), zoo.shareable(model)
    with tempfile.TemporaryDirectory() as folder:
        model_file.write(Path(folder) / model_file.NAME, model)
        (Path(folder) / "README.md").write_text(card(model, name), encoding="utf-8")
        try:
            api = library.HfApi()
            api.create_repo(name, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=name, folder_path=folder, commit_message="Model of amr_jax"
            )
        except Exception as error:  # of the hub, of httpx
            raise UserError(f"{repo}: could not be pushed ({_short(error)}).") from error
    return str(done)


def card(model: Model, name: str) -> str:
    """The README.md of a repository, with the hub's header."""
    origin = model.provenance.get("pretraining") or {}
    what = f"A classifier of {len(model.class_names)} actions" if model.head else "An encoder"
    accuracy = model.provenance.get("encoders", {}).get("pretrained", {}).get("top1")
    lines = [
        "---\nlibrary_name: amr_jax\ntags: [skeleton, action-recognition, jax]\n---\n",
        f"# {name.partition('/')[2]}\n",
        f"{what} of skeleton sequences, by [amr_jax]: {model.input.layout}, "
        f"{len(model.input.joints)} joints, {model.input.channels}.\n",
        f"- pre-training: {origin.get('method', 'unknown')} on {origin.get('dataset', 'unknown')}",
    ]
    if accuracy is not None:
        told = model.provenance
        lines.append(
            f"- {told['protocol']} on {told['dataset']}: top-1 {100 * accuracy:.2f} % of "
            f"{told['test_sequences']:,} test sequences"
        )
    if model.class_names:
        lines.append(f"- classes: {', '.join(model.class_names)}")
    lines += [
        "- licence: that of the training data holds; see the data set's terms\n",
        "```python\nimport amr_jax as amr\n",
        f'model = amr.load("{PREFIX}{name}")',
        f"model.{'predict' if model.head else 'embed'}(x)  # x: (T, V, C), or several\n```",
    ]
    return "\n".join(lines) + "\n"


def is_address(path: os.PathLike | str) -> bool:
    """Whether `path` is on the hub."""
    return os.fspath(path).startswith(PREFIX)


def _short(error: Exception) -> str:
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
