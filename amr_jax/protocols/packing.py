"""In which order sequences are trained on, and which bodies a batch of them holds."""

import numpy as np


def epoch_order(seed: int, epoch: int, num_sequences: int, batch_size: int) -> np.ndarray:
    """Deals a permutation of all sequences into batches whose sizes differ by one at most.

    Every sequence is trained on once per epoch. Published code drops the tail instead; a short last
    batch would be the other choice, and BatchNorm would then take its statistics from a handful.

    Returns:
      (number of batches, size) int32 indices; where a batch is one short, its last is
      `num_sequences`, which training masks out of loss and statistics.
    """
    num_batches = -(-num_sequences // batch_size)
    size = -(-num_sequences // num_batches)
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    order = generator.permutation(num_sequences).astype(np.int32)
    padding = np.full(num_batches * size - num_sequences, num_sequences, np.int32)
    return np.concatenate([order, padding]).reshape(size, num_batches).T
