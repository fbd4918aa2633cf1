r"""Score-level ensemble: the softmax of several classifiers, weighted and summed.

  python -m amr_jax.ensemble DIR1 DIR2 … [--weights=1,0.6,…] --workdir=OUT

DIR1 … are workdirs of `python -m amr_jax.evaluate` on the same test split with a protocol that has
logits (linear, finetune); they may differ in stream, seed or method. Sequences are matched by name.
"""

if __name__ == "__main__":  # before JAX is imported: --help answers at once
    from amr_jax.__main__ import script

    script("ensemble")


import argparse

from amr_jax.errors import UserError
from amr_jax.evaluation import ensembles, report
from amr_jax.run import console


def table(results: dict) -> str:
    """Each member and the ensemble, for the terminal.

    Args:
      results: of `ensembles.run`.
    """
    rows = {}
    for encoder, summed in results["encoders"].items():
        for member in results["members"]:
            rows[f"{encoder}: {member['workdir']}"] = member["encoders"][encoder]
        rows[f"{encoder}: ensemble"] = summed
    return f"{report.table(rows)}\n{report.noise(rows, results['test_sequences'])}"


def main(flags: argparse.Namespace) -> None:
    """The command; `flags` are those of `amr_jax.flags.ensemble`."""
    texts = flags.weights.split(",") if flags.weights else ["1"] * len(flags.folders)
    try:
        weights = [float(text) for text in texts]
    except ValueError as error:
        raise UserError(f"--weights={flags.weights}: expected numbers ({error}).") from error
    console.say(table(ensembles.run(flags.folders, weights, flags.workdir)))
