"""How sequences become ArrayRecord shards: in which order, and with which bytes.

The order is fixed by a hash of the sequences' names, so that any slice of a split (`train[:10%]`)
is a fair sample of its classes.
"""

import errno
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tensorflow_datasets.core import writer
from tensorflow_datasets.proto import tf_example_pb2

from amr_jax.data.build import parsing

# The examples of a shard are in memory together: about 100 MB of NTU RGB+D.
_SEQUENCES_PER_SHARD = 2048


def of(
    spool: parsing.Spool,
    indices: list[int],
    features: Sequence[str],
    num_bodies: int,
    advance: Callable[[int], None],
) -> list[Callable]:
    """One generator function of (key, example) per shard; examples hold `features` only."""
    names = {index: spool.fields(index)["name"] for index in indices}
    hashes = {i: hashlib.blake2b(names[i].encode(), digest_size=16).digest() for i in indices}
    indices = sorted(indices, key=hashes.get)
    num_shards = -(-len(indices) // _SEQUENCES_PER_SHARD)
    bounds = [len(indices) * shard // num_shards for shard in range(num_shards + 1)]

    def generate(start: int, stop: int) -> Iterator[tuple[str, dict]]:
        for index in indices[start:stop]:
            example = spool.example(index)
            if absent := num_bodies - example["joints"].shape[1]:
                pads = ((0, 0), (0, absent), (0, 0), (0, 0))
                example["joints"] = np.pad(example["joints"], pads)
            yield names[index], {feature: example[feature] for feature in features}
            advance(1)

    return [functools.partial(generate, *bounds[shard : shard + 2]) for shard in range(num_shards)]


class Writer(writer.ExampleWriter):
    """Writes the features of an example in a fixed order; TFDS uses an arbitrary one.

    Raises:
      OSError: the disk is full. ArrayRecord reports that as a RuntimeError.
    """

    def write(self, path, examples):
        try:
            return super().write(path, ((key, _in_order(example)) for key, example in examples))
        except RuntimeError as error:
            for number in (errno.ENOSPC, errno.EDQUOT):
                if os.strerror(number) in str(error):
                    raise OSError(number, os.strerror(number), str(path)) from error
            raise


def _in_order(serialised: bytes) -> bytes:
    return tf_example_pb2.Example.FromString(serialised).SerializeToString(deterministic=True)
