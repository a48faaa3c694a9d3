"""All exceptions of the library. Each message names the rule, what was found and the way out."""

_SHOWN = 100  # characters


class CDEError(Exception):
    """Base of all errors raised by cde_retrievers.

    None of them is a ValueError: pydantic, which both frameworks use, would swallow its type and wrap its text.
    """


class ConfigurationError(CDEError):
    """A setting is unknown, out of range or does not fit the others."""


class InvalidTextError(CDEError):
    """A value is not a text, or not a collection of texts."""


class CheckpointError(CDEError):
    """A model directory is incomplete, damaged or of a kind this library does not read."""


class ContextFileError(CDEError):
    """A saved context is incomplete, damaged or was edited."""


class ContextNotFittedError(CDEError, RuntimeError):
    """A text was to be embedded before a context was fitted."""


class ContextInUseError(CDEError, RuntimeError):
    """A context was to be replaced although texts are already embedded under it."""


class ContextMismatchError(CDEError):
    """A context belongs to another model, or is not the context that was expected."""


class ContextTooSmallError(CDEError):
    """There are too few distinct documents to form a context."""


class EmbeddingServiceError(CDEError, RuntimeError):
    """An embedder, often a paid service, failed or returned something other than embeddings."""


class SampleTooSmallError(CDEError):
    """There are too few distinct documents for a measurement."""


class PathInUseError(CDEError, FileExistsError):
    """The path where a model or a context was to be written is taken."""


class InvalidDocumentError(CDEError):
    """A document cannot be stored because of its id, text or metadata."""


class CorpusFileError(CDEError):
    """Files of documents are missing, cannot be read, or do not follow their format."""


class DuplicateIdError(CDEError):
    """Two documents have the same id, or one is already in the index."""


class FilterError(CDEError):
    """A metadata filter names an unknown field or operator, or compares values that cannot be compared."""


class IndexFileError(CDEError):
    """An index on disk is incomplete or damaged."""


class PlanError(CDEError):
    """A plan for embedding in bulk is incomplete, damaged, or its input was changed."""


class ShardError(CDEError):
    """Shards of a plan are missing, damaged or of another plan, or could not be embedded."""


class RemovalRefusedError(CDEError):
    """More than a quarter of an index's documents would be removed, and nobody has consented to it."""


class IndexLockedError(CDEError):
    """Another writer holds the index."""


class ReadOnlyError(CDEError):
    """A change was attempted on an index that is open for reading."""


class WriteError(CDEError, OSError):
    """The disk is full, or the directory cannot be written to."""


class StoreRefitError(CDEError, RuntimeError):
    """A served vector store, or the new collection beside it, is not in a state that a refit can continue from."""


class EvaluationDataError(CDEError):
    """A corpus or its queries cannot be used for evaluation."""


class TrainingDataError(CDEError):
    """Pairs to train on are missing, cannot be read, or are too few for the request."""


class TrainingError(CDEError, RuntimeError):
    """A training run cannot continue."""


class DeviceError(CDEError):
    """The requested device or number format is not available on this machine."""


class DeviceMemoryError(CDEError, MemoryError):
    """One text alone does not fit into the device's memory."""


class WorkerError(CDEError, RuntimeError):
    """A process that embedded a part of the texts ended before it was done."""


class MissingDependencyError(CDEError, ImportError):
    """An optional package is not installed."""


class QueueFullError(CDEError):
    """A server has as many texts waiting as it accepts."""


class QueueClosedError(CDEError):
    """A server is stopping, and embeds no further texts."""


class RequestError(CDEError):
    """A server cannot answer a request.

    Attributes:
        status: of HTTP.
        code: names the rule, for programs.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def shown(value: object) -> str:
    """Any value as one line of limited length, for an error message."""
    try:
        text = " ".join(line.strip() for line in repr(value).splitlines())
    except Exception:  # numbers of more than 4,300 digits, nesting without end, objects that fail
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
