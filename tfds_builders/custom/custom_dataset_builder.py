"""TFDS builder of a user's own data: `.npz` files, or a pickle in the exchange format of PYSKL."""

import dataclasses
import functools
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from amr_jax.data.build import own_data, record_builder
from amr_jax.errors import UserError
from amr_jax.skeleton import layout_file


class Builder(record_builder.SkeletonBuilder):
    """A user's own data. Its configs are made by `make`: one for each data set."""

    BUILDER_CONFIGS: ClassVar = []
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put .npz files, or one pickle in the exchange format of PYSKL, into manual_dir."
    )
    DESCRIPTION = "A user's own skeleton sequences."
    HOMEPAGE = ""
    CITATION = ""
    INTEGERS = ()
    TEXTS = ("name", "subject")
    PUBLISHED: ClassVar = {}
    OPTIONS = ("name", "layout", "channels", "scale", "train_split", "test_split")

    def __init__(self, *, config: own_data.Config | None = None, **kwargs):
        if not isinstance(config, own_data.Config):
            raise UserError(
                "the builder 'custom' has no configs of its own: `python -m amr_jax.prepare "
                "--dataset=custom` makes records, tfds.builder_from_directory reads them."
            )
        self.CLASS_NAMES, self.MAX_BODIES = tuple(config.class_names), config.max_bodies
        self.NUM_JOINTS, self.CHANNELS = config.layout.num_joints, config.channels
        super().__init__(config=config, **kwargs)

    @classmethod
    def protocols(cls, **options: str) -> tuple[str, ...]:
        return (own_data.config_of(options).name,)

    @classmethod
    def left_out_file(cls, **options: str) -> str:
        return f"{own_data.config_of(options).name}/left_out.json"

    @classmethod
    def find(cls, manual_dir: Path, **options: str) -> own_data.RawSet:
        """A pickle, or all `.npz` files with a `labels.csv`; and a `classes.txt`."""
        return own_data.find(Path(manual_dir), own_data.config_of(options))

    @classmethod
    def make(cls, protocol, data_dir, source, **options) -> "Builder":
        """As in the base; what the user left open is as in `source`, or in the records there."""
        asked = own_data.config_of(options)
        if source is None:
            folder = Path(data_dir) / cls.name / protocol / str(cls.VERSION)
            facts = _as_made(tfds.builder_from_directory(folder).info, asked)
        else:
            raw, spool = source
            facts = own_data.facts(raw, spool, asked)
            how = functools.partial(own_data.split, facts["train_split"], facts["test_split"])
            source = dataclasses.replace(raw, split=how), spool
        builder = cls(config=dataclasses.replace(asked, **facts), data_dir=data_dir)
        builder.source = source
        return builder

    def options(self) -> dict[str, object]:
        config = self.builder_config
        kept = {
            key: getattr(config, key)
            for key in ("channels", "scale", "train_split", "test_split", "longest", "sequences")
        }
        return {"layout": layout_file.to_json(config.layout), **kept}


def _as_made(info: tfds.core.DatasetInfo, asked: own_data.Config) -> dict[str, object]:
    """What the records that are there say, where nothing else was asked for."""
    made = dict(info.metadata)
    return {
        "class_names": info.features["label"].names,
        "max_bodies": info.features["joints"].shape[1],
        "longest": made["longest"],
        "sequences": made["sequences"],
        **{key: getattr(asked, key) or made[key] for key in ("train_split", "test_split")},
    }
