"""A worker: loads model and context by path, and embeds one shard after another."""

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from cde_retrievers.bulk.input_file import read_input
from cde_retrievers.bulk.outcome import Outcome, ShardDone, ShardFailed
from cde_retrievers.bulk.paths import CONTEXT, input_file, shard_file
from cde_retrievers.bulk.plan_file import Plan, loaded_plan
from cde_retrievers.bulk.probe import check_probe, probe_vector
from cde_retrievers.bulk.shard_file import Shard, read_shard, require_parquet, write_shard
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.encoder.cut_texts import counted_cut_texts
from cde_retrievers.encoder.encoder import ContextualEncoder
from cde_retrievers.errors import CDEError, ContextMismatchError, PlanError, ShardError, WriteError, shown
from cde_retrievers.retrieval.document import Document
from cde_retrievers.storage.atomic import checked_target


class Worker:
    """Embeds shards of a plan. The model is loaded once, and not at all if every shard asked for is there already.

    Args:
        plan: the plan, or its directory.
        device: as for `ContextualEncoder.from_pretrained`.

    Raises:
        PlanError: the plan is missing or damaged.
        MissingDependencyError: pyarrow is not installed; names the extra.
    """

    def __init__(self, plan: Plan | str | Path, device: str = "auto") -> None:
        require_parquet()
        self.plan = loaded_plan(plan)
        self._device = device

    def embed(self, number: int) -> ShardDone:
        """Embed the shard, unless it is there and complete; safe to call anywhere, any number of times.

        Raises:
            ConfigurationError: the plan has no shard of that number.
            PlanError: its input is missing or was changed.
            ContextMismatchError, CheckpointError, ContextFileError, DeviceError: model or context are not the plan's,
                or this machine computes other vectors with them.
            WriteError: the disk is full, or the shard cannot be written.
        """
        expected, path = self.plan.shard(number), shard_file(self.plan.directory, number)
        if self.has(number):
            return ShardDone(number, expected.rows, was_there=True)
        documents = read_input(input_file(self.plan.directory, number), expected)
        checked_target(path)  # before anything is embedded; a copied plan may lack the empty directory
        self._loaded  # noqa: B018 - is not part of the time
        begun = time.monotonic()
        with counted_cut_texts() as counted:
            shard = self._embedded(documents)
        write_shard(path, shard, self.plan.identity(number))
        return ShardDone(number, expected.rows, seconds=time.monotonic() - begun, cut=counted.cut)

    def has(self, number: int) -> bool:
        """Whether the shard is there, complete and undamaged; every value of it is read."""
        try:
            read_shard(shard_file(self.plan.directory, number), self.plan.identity(number))
        except ShardError:
            return False
        return True

    def attempt(self, number: int) -> Outcome:
        """Call `embed`, and return an error as a value that names the documents that it arises at."""
        try:
            return self.embed(number)
        except WriteError as error:
            return ShardFailed(number, str(error), error)
        except Exception as error:
            return self._explained(number, error)

    def _explained(self, number: int, error: Exception) -> ShardFailed:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, PlanError):
            return ShardFailed(number, str(error))
        try:
            self._loaded  # noqa: B018 - what cannot be loaded fails every shard
        except Exception as for_all:
            return _failed_for_all(number, for_all)
        culprit = self._culprit(number)
        where = "" if culprit is None else f"; it arises at document {culprit.id!r}: {shown(culprit.text)}"
        return ShardFailed(number, reason + where)

    def _culprit(self, number: int) -> Document | None:
        """Return a document that fails by itself, found by halving; None if the failure does not come again."""
        documents = read_input(input_file(self.plan.directory, number), self.plan.shard(number))
        return failing(documents, self._embedded)

    def _embedded(self, documents: Sequence[Document]) -> Shard:
        encoder, context = self._loaded
        texts = [document.text for document in documents]
        vectors = encoder.encode_documents(texts, context, show_progress=False)
        sparse = encoder.encode_documents_sparse(texts, context) if self.plan.sparse else None
        return Shard(documents, vectors, sparse)

    @cached_property
    def _loaded(self) -> tuple[ContextualEncoder, CorpusContext]:
        plan = self.plan
        context = CorpusContext.load(plan.directory / CONTEXT)
        if context.fingerprint != plan.context_fingerprint:
            raise ContextMismatchError(
                f"{plan.directory / CONTEXT} holds context {context.fingerprint[:12]}, but the plan was made with "
                f"{plan.context_fingerprint[:12]}; restore the directory from a copy, or make the plan again"
            )
        encoder = ContextualEncoder.from_pretrained(plan.model_path, self._device, **plan.arithmetic())
        if encoder.fingerprint != plan.model_fingerprint:
            raise ContextMismatchError(
                f"{plan.model_path!r} is another model here ({encoder.fingerprint[:12]}) than where the plan was made "
                f"({plan.model_fingerprint[:12]}); install the same one, or make the plan with a loaded encoder, which "
                f"puts a copy into it"
            )
        encoder.check_context(context)
        check_probe(plan.probe_vector, probe_vector(encoder, context), plan.precision)
        return encoder, context


def attempts_at(plan: str, device: str) -> Callable[[int], Outcome]:
    """Return a worker's `attempt`, or, if there can be no worker here, a function that says why for every shard."""
    try:
        return Worker(plan, device).attempt
    except Exception as error:
        reason = error
        return lambda number: _failed_for_all(number, reason)


def _failed_for_all(number: int, error: Exception) -> ShardFailed:
    known = (
        error if isinstance(error, CDEError) else ShardError(f"no worker can start: {type(error).__name__}: {error}")
    )
    return ShardFailed(number, str(known), known)


def failing(documents: Sequence[Document], work: Callable[[Sequence[Document]], object]) -> Document | None:
    """Return a document that `work` fails at; None if it does not fail at all of them together."""
    if not _fails(documents, work):
        return None
    while len(documents) > 1:
        middle = len(documents) // 2
        halves = documents[:middle], documents[middle:]
        found = next((half for half in halves if _fails(half, work)), None)
        if found is None:  # only together
            return None
        documents = found
    return documents[0]


def _fails(documents: Sequence[Document], work: Callable[[Sequence[Document]], object]) -> bool:
    try:
        work(documents)
    except Exception:
        return True
    return False


def embed_shard(plan: Plan | str | Path, number: int, device: str = "auto") -> ShardDone:
    """Embed one shard; a program that embeds several keeps a `Worker`. Arguments and errors as there."""
    return Worker(plan, device).embed(number)
