"""MAMP: masked motion prediction (Masked Motion Predictors are Strong 3D Action Learners)."""

from amr_jax.methods.skeleton_mae import SkeletonMAE


class MAMP(SkeletonMAE):
    """SkeletonMAE that hides what moves and predicts motion.

    Attributes: those of `MaskedReconstruction`.
    """
