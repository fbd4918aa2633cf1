"""Models on the Hugging Face hub; needs the extra `hub`."""

import os
import re
import tempfile
from pathlib import Path
from types import ModuleType

from amr_jax.errors import UserError
from amr_jax.inference import model_file, zoo
from amr_jax.inference.apply import Model

PREFIX = "hf://"
_REPO = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")

_CARD = """---
library_name: amr_jax
tags: [skeleton, action-recognition, jax]
---

# {title}

{what} of skeleton sequences ({layout}, {joints} joints, {channels}), by amr_jax.

{facts}

```python
import amr_jax as amr

model = amr.load("{address}")
model.{call}(x)  # x: (T, V, C), (n, T, V, C), or a list
```
"""


def is_address(path: os.PathLike | str) -> bool:
    """Whether `path` is on the hub."""
    return os.fspath(path).startswith(PREFIX)


def fetch(address: str) -> Path:
    """The model file of 'hf://USER/REPO' or 'hf://USER/REPO@REVISION', in the hub's local cache.

    Raises:
      UserError: no such repository, revision or file; no network and nothing in the cache.
    """
    name, revision = _parts(address)
    library = _library()
    try:
        return Path(library.HfApi().hf_hub_download(name, model_file.NAME, revision=revision))
    except Exception as error:  # of the hub, of its HTTP client, of the file system
        raise UserError(
            f"{address}: {model_file.NAME} could not be fetched ({_short(error)})."
        ) from error


def push(model: Model, repo: str, private: bool = False) -> str:
    """Uploads a model file and a card, as the user of `hf auth login` or HF_TOKEN.

    Folders of this machine that the model's provenance names stay out (`zoo.shareable`).

    Args:
      model: the model.
      repo: 'USER/REPO'; made if absent.
      private: of a repository that is made.

    Returns:
      The address of the commit.

    Raises:
      UserError: it cannot be written to.
    """
    name, api, model = require(repo), _library().HfApi(), zoo.shareable(model)
    with tempfile.TemporaryDirectory() as folder:
        model_file.write(Path(folder) / model_file.NAME, model)
        (Path(folder) / "README.md").write_text(_card(model, name), encoding="utf-8")
        try:
            api.create_repo(name, private=private, exist_ok=True)
            return str(api.upload_folder(repo_id=name, folder_path=folder))
        except Exception as error:  # as above
            raise UserError(f"{repo}: could not be pushed ({_short(error)}).") from error


def require(repo: str) -> str:
    """The name 'USER/REPO' to push to; `UserError` if it is none, or the library is absent."""
    name, revision = _parts(repo)
    if revision:
        raise UserError(f"{repo}: expected USER/REPO; nothing is pushed to a revision.")
    _library()
    return name


def _parts(address: str) -> tuple[str, str | None]:
    """The repository, and the revision if there is one."""
    found = _REPO.fullmatch(address.removeprefix(PREFIX))
    if not found:
        raise UserError(f"{address}: expected USER/REPO, or to read {PREFIX}USER/REPO@REVISION.")
    return found[1], found[2]


def _library() -> ModuleType:
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            "huggingface_hub is not installed; expected the extra: pip install 'amr_jax[hub]'"
        ) from error
    return huggingface_hub


def _card(model: Model, name: str) -> str:
    """The README.md of a repository, with the hub's header."""
    told, size = model.provenance, model.input
    origin = told.get("pretraining") or {}
    facts = [f"pre-training: {origin.get('method', '?')} on {origin.get('dataset', '?')}"]
    for encoder, scores in told.get("encoders", {}).items():
        tests = f"{told['test_sequences']:,} test sequences of {told['dataset']}"
        share = f"{100 * scores['top1']:.2f} % of {tests}"
        facts.append(f"{told['protocol']}, {encoder} encoder: {share}")
    facts += [f"classes: {', '.join(model.class_names)}"] if model.head else []
    facts.append("licence: the terms of the training data hold for these weights")
    return _CARD.format(
        title=name.partition("/")[2],
        what=f"A classifier of {len(model.class_names)} actions" if model.head else "An encoder",
        layout=size.layout,
        joints=len(size.joints),
        channels=size.channels,
        facts="\n".join(f"- {fact}" for fact in facts),
        address=f"{PREFIX}{name}",
        call="predict" if model.head else "embed",
    )


def _short(error: Exception) -> str:
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
