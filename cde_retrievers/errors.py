"""Every exception the library raises. Each message names the rule, what was found and the way out."""

_SHOWN = 100  # characters


class CDEError(Exception):
    """Base of all errors raised by cde_retrievers.

    None of them is a ValueError: pydantic, on which both frameworks stand, would swallow its type and wrap its text.
    """


class ConfigurationError(CDEError):
    """A setting is unknown, out of range or does not fit the others."""


class InvalidTextError(CDEError):
    """What should be a text, or a collection of texts, is not one."""


class CheckpointError(CDEError):
    """A model directory is incomplete, damaged or of a kind this library does not read."""


class ContextFileError(CDEError):
    """A saved context is incomplete, damaged or was edited."""


class ContextNotFittedError(CDEError, RuntimeError):
    """Something was to be embedded before a context was fitted."""


class ContextInUseError(CDEError, RuntimeError):
    """A context was to be replaced although texts are already embedded under it."""


class ContextMismatchError(CDEError):
    """A context belongs to another model, or is not the context that was expected."""


class ContextTooSmallError(CDEError):
    """There are too few distinct documents to make a context of."""


class EmbeddingServiceError(CDEError, RuntimeError):
    """The embedding under a context, often a paid service, failed or answered with something that is no embedding."""


class SampleTooSmallError(CDEError):
    """There are too few distinct documents to measure anything by."""


class PathInUseError(CDEError, FileExistsError):
    """Something else is where a model or a context was to be written."""


class InvalidDocumentError(CDEError):
    """A document for an index is not one: its id, text or metadata cannot be stored."""


class CorpusFileError(CDEError):
    """Files of documents are missing, cannot be read, or are not what their format asks for."""


class DuplicateIdError(CDEError):
    """Two documents have the same id, or one is already in the index."""


class FilterError(CDEError):
    """A metadata filter names an unknown field or operator, or compares what cannot be compared."""


class IndexFileError(CDEError):
    """An index on disk is incomplete or damaged."""


class IndexLockedError(CDEError):
    """Somebody else is writing to the index."""


class ReadOnlyError(CDEError):
    """An index that was opened for reading was to be changed."""


class WriteError(CDEError, OSError):
    """The disk is full, or the directory cannot be written to."""


class EvaluationDataError(CDEError):
    """A corpus or its queries cannot be evaluated on."""


class TrainingDataError(CDEError):
    """Pairs to train on are missing, cannot be read, or do not suffice for what was asked."""


class TrainingError(CDEError, RuntimeError):
    """A training run cannot go on."""


class DeviceError(CDEError):
    """The device or number format asked for is not to be had on this machine."""


class DeviceMemoryError(CDEError, MemoryError):
    """One text alone does not fit into the device's memory."""


class MissingDependencyError(CDEError, ImportError):
    """An optional package is not installed."""


def shown(value: object) -> str:
    """A value that was found, for a message: in one line, cut, and whatever it is."""
    try:
        text = repr(value)
    except Exception:  # numbers of more than 4,300 digits, nesting without end, objects that fail
        return f"an object of type {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
