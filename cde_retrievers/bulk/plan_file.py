"""A plan on disk: what is to be embedded, by which model, under which context, cut into numbered shards.

A directory holds all of it:

    plan.json               this plan, with a checksum over its content
    context/                the context
    model/                  the model, where the plan was made with a loaded one
    inputs/00017.jsonl      the rows of shard 17
    shards/00017.parquet    the same rows with their vectors, once they are embedded
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cde_retrievers.bulk.paths import MODEL, PLAN_FILE
from cde_retrievers.encoder.backends.arithmetic import Backend
from cde_retrievers.errors import ConfigurationError, PlanError
from cde_retrievers.storage.checked_json import read_checksummed, sealed
from cde_retrievers.storage.checksums import Sha256
from cde_retrievers.storage.hashing import write_json
from cde_retrievers.validation.numbers import is_whole
from cde_retrievers.validation.paths import checked_path
from cde_retrievers.validation.problems import readable
from cde_retrievers.validation.vectors import LARGEST_WIDTH, Vectors

FORMAT_VERSION = 1
REMEDY = "restore the directory from a copy, or make the plan again in a new one"
Count = Annotated[int, Field(ge=1)]


class ShardInput(BaseModel):
    """The rows of a shard.

    Attributes:
        rows: their number.
        sha256: of the file that holds them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Count
    sha256: Sha256


class SourceFiles(BaseModel):
    """The files that the rows were read from, and how.

    Attributes:
        path: of the source.
        reading: options, as in `ReadOptions`.
        files: SHA-256 of each file by its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    reading: dict[str, Any]
    files: dict[str, Sha256]


class Plan(BaseModel):
    """What is to be embedded; immutable.

    Attributes:
        directory: of the plan; not part of the file, so that a plan can be moved as a whole.
        model: name or path for `ContextualEncoder.from_pretrained`; None for the copy inside the plan.
        model_fingerprint: identity of the model.
        context_fingerprint: identity of the context.
        backend: the library that embeds, as for `ContextualEncoder.from_pretrained`.
        precision: number format of all workers.
        width: length of a vector.
        sparse: whether rows also get sparse vectors.
        probe: unit vector of a fixed text, as the machine that planned computed it.
        rows_per_shard: rows of every shard but the last.
        shards: the inputs, by number.
        source: where the rows come from; None if that is not files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    directory: Path = Field(exclude=True)
    model: str | None
    model_fingerprint: Sha256
    context_fingerprint: Sha256
    backend: Backend
    precision: Literal["float32", "float16", "bfloat16", "int8"]
    width: Annotated[int, Field(ge=1, le=LARGEST_WIDTH)]
    sparse: bool
    probe: tuple[float, ...]
    rows_per_shard: Count
    shards: tuple[ShardInput, ...]
    source: SourceFiles | None = None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read the plan in the directory `path`.

        Raises:
            PlanError: there is none, or it is damaged, was edited, or is of a later release.
            ConfigurationError: the path is a URL, or not a path.
        """
        directory = Path(os.path.abspath(checked_path(path, "plan")))
        try:
            content = read_checksummed(directory / PLAN_FILE, PlanError, REMEDY, FORMAT_VERSION)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise PlanError(
                f"{directory} holds no plan: there is no {PLAN_FILE} in it; make one with plan()"
            ) from error
        try:
            return cls(directory=directory, **content)
        except ValidationError as error:
            problems = readable(error.errors())
            raise PlanError(f"{directory / PLAN_FILE} is not a valid plan: {problems}; {REMEDY}") from error

    def write(self, directory: Path) -> None:
        """Write the plan into a directory that is not in place yet."""
        write_json(directory / PLAN_FILE, sealed(self.model_dump(mode="json"), FORMAT_VERSION))

    @property
    def rows(self) -> int:
        """The number of rows of all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def model_path(self) -> str:
        """The name or path to load the model by."""
        return str(self.directory / MODEL) if self.model is None else self.model

    def arithmetic(self) -> dict[str, Any]:
        """Return the arguments of `ContextualEncoder.from_pretrained` that make it compute as the plan says."""
        if self.backend == "torch":
            return {"backend": "torch", "dtype": self.precision}
        return {"backend": self.backend, "precision": self.precision}

    @property
    def probe_vector(self) -> Vectors:
        """The probe as an array (W,)."""
        return np.asarray(self.probe, dtype=np.float32)

    def shard(self, number: int) -> ShardInput:
        """Return a shard's input, or raise ConfigurationError if the plan has no shard of that number."""
        if not is_whole(number) or not 0 <= number < len(self.shards):
            raise ConfigurationError(
                f"the plan has shards 0 to {len(self.shards) - 1}, found {number!r}; give one of these"
            )
        return self.shards[number]

    def identity(self, number: int) -> dict[str, Any]:
        """Return everything that an embedded shard depends on: equal identities have equal vectors."""
        return {
            "number": number,
            "input": self.shards[number].sha256,
            "rows": self.shards[number].rows,
            "model": self.model_fingerprint,
            "context": self.context_fingerprint,
            "backend": self.backend,
            "precision": self.precision,
            "width": self.width,
            "sparse": self.sparse,
        }


def loaded_plan(plan: Plan | str | Path) -> Plan:
    """Return the plan, read from disk if it is given as a path; errors as `Plan.load`."""
    return plan if isinstance(plan, Plan) else Plan.load(plan)
