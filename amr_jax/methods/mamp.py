"""MAMP: masked motion prediction (Masked Motion Predictors are Strong 3D Action Learners)."""

from amr_jax.methods.skeleton_mae import SkeletonMAE


class MAMP(SkeletonMAE):
    """SkeletonMAE with motion-aware masks and motion targets.

    Attributes: those of `MaskedReconstruction`.
    """
