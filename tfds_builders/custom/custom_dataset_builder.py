"""TFDS builder of a user's own data: files of sequences, or a pickle in PYSKL's exchange format."""

import dataclasses
import functools
from pathlib import Path
from typing import ClassVar

import tensorflow_datasets as tfds

from amr_jax.data.build import builder, custom, custom_facts
from amr_jax.data.readers import layout_file
from amr_jax.errors import UserError


class Builder(builder.SkeletonBuilder):
    """A user's own data. `make` creates a config for each data set."""

    BUILDER_CONFIGS: ClassVar = []
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put files of sequences, or one pickle in the exchange format of PYSKL, into manual_dir."
    )
    DESCRIPTION = "A user's own skeleton sequences."
    HOMEPAGE = ""
    CITATION = ""
    INTEGERS = ()
    TEXTS = ("name", "subject")
    PUBLISHED: ClassVar = {}
    OPTIONS = (
        "name", "layout", "channels", "scale", "scores", "people", "train_split", "test_split",
        "test_fraction", "split_seed",
    )  # fmt: skip

    def __init__(self, *, config: custom.Config | None = None, **kwargs):
        if not isinstance(config, custom.Config):
            raise UserError(
                "the builder 'custom' has no configs of its own: `python -m amr_jax.prepare "
                "--dataset=custom` makes records, tfds.builder_from_directory reads them."
            )
        self.CLASS_NAMES, self.MAX_BODIES = tuple(config.class_names), config.max_bodies
        self.NUM_JOINTS, self.CHANNELS = config.layout.num_joints, config.channels
        super().__init__(config=config, **kwargs)

    @classmethod
    def protocols(cls, **options: str) -> tuple[str, ...]:
        return (custom.config_of(options).name,)

    @classmethod
    def left_out_file(cls, **options: str) -> str:
        return f"{custom.config_of(options).name}/left_out.json"

    @classmethod
    def find(cls, manual_dir: Path, **options: str) -> custom.RawSet:
        """Finds a pickle, or files of sequences with their `labels.csv`; and a `classes.txt`."""
        return custom.find(Path(manual_dir), custom.config_of(options))

    @classmethod
    def make(cls, protocol, data_dir, source, **options) -> "Builder":
        """As in the base; facts come from `source` or, without one, from the existing records."""
        config = custom.config_of(options)
        if source is None:
            folder = Path(data_dir) / cls.name / protocol / str(cls.VERSION)
            facts = _facts_of_records(tfds.builder_from_directory(folder).info, config)
        else:
            raw, spool = source
            facts = custom_facts.of(raw, spool, config)
            split = functools.partial(custom.split, facts["train_split"], facts["test_split"])
            source = dataclasses.replace(raw, split=split), spool
        made = cls(config=dataclasses.replace(config, **facts), data_dir=data_dir)
        made.source = source
        return made

    def options(self) -> dict[str, object]:
        keys = ("channels", "scale", "scores", "train_split", "test_split", "longest", "sequences")
        if self.builder_config.test_fraction:
            keys += ("test_fraction", "split_seed")
        if self.builder_config.split_by:
            keys += ("split_by",)
        if self.builder_config.people:
            keys += ("people",)
        kept = {key: getattr(self.builder_config, key) for key in keys}
        return {"layout": layout_file.to_json(self.builder_config.layout), **kept}


def _facts_of_records(info: tfds.core.DatasetInfo, config: custom.Config) -> dict[str, object]:
    """The facts of existing records; the user's choice of splits replaces theirs."""
    made = dict(info.metadata)
    return {
        "class_names": info.features["label"].names,
        "max_bodies": info.features["joints"].shape[1],
        "longest": made["longest"],
        "sequences": made["sequences"],
        "split_by": made.get("split_by", ""),
        "test_fraction": (
            made.get("test_fraction", 0.0) if config.test_fraction is None else config.test_fraction
        ),
        **{key: getattr(config, key) or made[key] for key in ("train_split", "test_split")},
    }
