"""One data set under one protocol: its facts, and how its records are opened."""

import dataclasses
import re
from collections.abc import Mapping

import ml_collections

from amr_jax.data import mixture, record_folder, records, selection
from amr_jax.errors import UserError
from amr_jax.ops.body_frame import BodyFrame
from amr_jax.skeleton import layouts, union


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One data set under one protocol.

    Attributes:
      records: name of the TFDS builder and its config, as in `tfds.builder(records)`; for custom
        data the absolute path of the folder.
      layout: the joints.
      centre: whether the field moves the origin to `layout.centre` of the first actor.
      max_frames: sequences are cut at this many frames when they are read.
      channels: the numbers of a joint, one of `layouts.CHANNELS`.
      scale: custom data: the factor that converted the coordinates in its files to metres.
      scores: custom data: what the scores in its files are, see `arrays.Form`.
      sequences: custom data: the number of sequences in each split.
      one_kinect: whether it is a small set of one Kinect, which a small model suits.
      camera: a regular expression for the part of a sequence's name that says which camera recorded
        it, where several record each performance; None: names say nothing of the kind.
      validation: the part of the training split to choose settings on, as 'subject=7'; None: the
        set has none of its own.
      members: several sets at once, by name; their joints are united in `layout`. None: one set.
    """

    records: str
    layout: layouts.Layout
    centre: bool
    max_frames: int
    channels: str = "xyz"
    scale: float = 1.0
    scores: float | str | None = None
    sequences: dict[str, int] | None = None
    one_kinect: bool = False
    camera: str | None = None
    validation: str | None = None
    members: Mapping[str, "Dataset"] | None = None

    def open_split(
        self, data_dir: str, split: str, section: ml_collections.ConfigDict
    ) -> mixture.Source:
        """Opens a split as a pre-training run loads it.

        Each of several sets is cut at its own `max_frames` at most, and centred and turned by its
        own joints.

        Args:
          data_dir: as in `records.Records`.
          split: likewise; or 'train[validation]' and 'train[!validation]', the set's own part.
          section: the section `input` of the pre-training config: `centre`, `max_frames`,
            `body_frame`.

        Raises:
          UserError: the records are absent, of another version, or damaged; the set has no part for
            validation; `body_frame`, and the joints are in an image, or have no shoulders and hips.
            Of several sets, it names the one.
        """
        if self.members:
            return self._open_members(data_dir, split, section)
        split = selection.of_validation(split, self.validation, self.records)
        centre = self.layout.centre if section.centre else None
        turned = self.body_frame(section.body_frame)
        return records.Records(data_dir, self.records, split, centre, section.max_frames, turned)

    def _open_members(
        self, data_dir: str, split: str, section: ml_collections.ConfigDict
    ) -> mixture.Mixture:
        sources = {}
        for name, member in self.members.items():
            try:
                sources[name] = member.open_split(data_dir, split, member.cut(section))
            except UserError as error:
                raise UserError(f"{name}, one of {'+'.join(self.members)}: {error}") from error
        return mixture.Mixture(sources, self.places, self.layout.num_joints)

    def cut(self, section: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """The section `input` of a run on several sets, as it is for this one of them."""
        section = section.copy_and_resolve_references()
        section.max_frames = min(section.max_frames, self.max_frames)
        return section

    @property
    def places(self) -> dict[str, tuple[int, ...]]:
        """Where the joints of each of several sets are in `layout`, by its name."""
        return {name: union.places(self.layout, one.layout) for name, one in self.members.items()}

    def body_frame(self, kind: str) -> BodyFrame | None:
        """How the setting `input.body_frame` turns sequences of this set; None if it is 'none'.

        Raises:
          UserError: the joints are in an image, or have no shoulders and hips.
        """
        if kind == "none":
            return None
        how = self.frame(kind)
        if how is None:
            raise UserError(
                f"config.input.body_frame = {kind!r}: expected 'none', as {self.records} has "
                f"joints of {self.channels} in the layout {self.layout.name}; a body frame takes "
                "shoulders and hips in space."
            )
        return how

    def frame(self, kind: str) -> BodyFrame | None:
        """As `body_frame`, of a kind but 'none'; None where joints do not allow it."""
        return BodyFrame.of(kind, self.layout.joints) if self.channels == "xyz" else None

    @property
    def recordings(self) -> str:
        """Which recordings the set is of: sets and protocols of the same ones share sequences."""
        if record_folder.is_custom(self.records):
            return self.records
        builder, protocol = self.records.split("/")
        if builder == "pku_mmd":  # its phases are two sets
            return f"{builder}/{protocol.split('_')[0]}"
        return "ntu_rgbd" if builder.startswith("ntu_rgbd") else builder  # 120 includes 60

    def performance(self, name: str) -> str:
        """The name of a sequence without its camera: the same for all cameras of a performance."""
        return name if self.camera is None else re.sub(self.camera, "", name)

    def first(self, split: str, count: int) -> str:
        """The first `count` sequences of a split, in the syntax of TFDS; all, if it has no more."""
        return f"{split}[:{count}]" if self.at_most(count + 1, split) > count else split

    def at_most(self, count: int, split: str) -> int:
        """`count`, or the sequences of the split if they are known to be fewer."""
        return count if self.sequences is None else min(count, self.sequences.get(split, 0))

    @property
    def has_confidence(self) -> bool:
        """Whether the last channel is the detector's confidence, not a coordinate."""
        return self.channels.endswith("c")

    @property
    def turns_about(self) -> tuple[bool, bool, bool]:
        """Whether a sequence can be rotated about the axes x, y, z; in an image only about z."""
        in_space = layouts.num_coordinates(self.channels) == 3
        return in_space, in_space, True
