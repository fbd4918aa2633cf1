"""A row that trains nothing: the summed scores of other rows with the same seed."""

import dataclasses
from collections.abc import Sequence

import ml_collections
from etils import epath

from amr_jax.errors import UserError
from amr_jax.evaluation import ensembles
from amr_jax.run import workdir
from amr_jax.studies import cells, rows


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """A row that sums the scores of others.

    Attributes:
      row, seed, folder: of the cell.
      title: of the row.
      weights: member -> weight.
      members: member -> folder of its cell.
      protocols: names of the protocols with logits.
    """

    row: str
    seed: int
    folder: epath.Path
    title: str
    weights: dict[str, float]
    members: dict[str, epath.Path]
    protocols: list[str]

    @staticmethod
    def protocols_of(config: ml_collections.ConfigDict, row: str) -> list[str]:
        """Names of the protocols that such a row has results of: those with logits."""
        del row
        return [name for name, judge in rows.judges(config).items() if judge.has_logits]

    @classmethod
    def of(
        cls, config: ml_collections.ConfigDict, root: epath.Path, row: str, seed: int
    ) -> "Ensemble":
        """Arguments as of `Training.of`."""
        spec = config.rows[row]
        return cls(
            row,
            seed,
            cells.folder_of(root, config, row, seed),
            spec.title,
            dict(zip(spec.members, spec.weights, strict=True)),
            {member: cells.folder_of(root, config, member, seed) for member in spec.members},
            cls.protocols_of(config, row),
        )

    def read(self, finished: cells.Finished) -> dict | None:
        """See cells.py. With other weights, or scores of a member made again, it is not finished.

        Raises:
          UserError: no readable file.
        """
        if not cells.is_finished(self.folder, self.protocols):
            return None
        found = cells.read(self.folder)
        return found if found.get("members") == self._members(finished) else None

    def run(self, finished: cells.Finished) -> dict:
        """See cells.py; `UserError` if a member is not finished, or as of `ensembles.run`."""
        members = self._members(finished)
        missing = [member["row"] for member in members if not member["finished"]]
        if missing:
            raise UserError(
                f"made of rows that are not finished: {', '.join(missing)}. Finish them by the "
                "same command; config.only, if given, must not leave them out."
            )
        protocols = {}
        for name in self.protocols:
            folders = [folder / name for folder in self.members.values()]
            summed = ensembles.run(folders, list(self.weights.values()), self.folder / name)
            protocols[name] = summed["encoders"]
        each = [finished[member, self.seed] for member in self.members]
        seconds = [cell["training_seconds"] for cell in each]
        made = {
            "row": self.row,
            "seed": self.seed,
            "title": self.title,
            "members": members,
            "training_seconds": None if None in seconds else sum(seconds),
            "costs": _costs([row["costs"] for row in each]),
            "protocols": protocols,
            # Its random encoders are those of its members: no other row has them.
            "untrained": dict.fromkeys(protocols, f"the ensemble {self.row}"),
            "train_sequences": each[0]["train_sequences"],
            "test_sequences": each[0]["test_sequences"],
            "test_sequences_with_twin": each[0].get("test_sequences_with_twin", 0),
            **workdir.provenance(),
        }
        cells.write(self.folder, made)
        return made

    def _members(self, finished: cells.Finished) -> list[dict]:
        """Row, weight and time of each member's result; None for one that is not finished."""
        return [
            {
                "row": name,
                "weight": weight,
                "finished": finished.get((name, self.seed), {}).get("finished"),
            }
            for name, weight in self.weights.items()
        ]


def _costs(each: Sequence[dict]) -> dict:
    """The costs of all members of an ensemble; they are trained one after the other."""
    total = {key: sum(costs[key] for costs in each) for key in each[0]}
    return total | {"step_bytes": max(costs["step_bytes"] for costs in each)}
