"""Read pairs from files, folders, data sets and iterables."""

from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from cde_retrievers.corpora.discovery import is_beir
from cde_retrievers.corpora.files import File
from cde_retrievers.corpora.formats import ENDINGS, json_rows
from cde_retrievers.corpora.paths import is_file, is_folder
from cde_retrievers.errors import (
    ConfigurationError,
    CorpusFileError,
    InvalidDocumentError,
    InvalidTextError,
    TrainingDataError,
)
from cde_retrievers.training.data.beir import beir_pairs, beir_sets
from cde_retrievers.training.data.columns import RowReader
from cde_retrievers.training.data.pairs import Pair, TrainingPairs
from cde_retrievers.training.data.qa_dataset import QADataset, qa_file_pairs, qa_object_pairs
from cde_retrievers.validation.signatures import is_iterable, validated

Rows = Iterable[Pair | Mapping[str, Any]]
PairSource = str | PathLike[str] | QADataset | Rows | Mapping[str, Rows]

_QA_ENDINGS = (".json", ".json.gz")
_DEFAULT_SPLIT = "train"


@validated
def read_pairs(source: PairSource, *, split: str = _DEFAULT_SPLIT, domain: str | None = None) -> TrainingPairs:
    """Read training pairs, in the order of the source.

    Rows have the columns `query` (or `anchor`, `question`) and `positive` (or `document`, `context`, `answer`,
    `passage`), and may have `negatives` (`negative`, `negative_1` and so on; a text or a list of texts) and `domain`.
    Other columns are not used, which is logged. A repeated pair counts once in training, with the negatives of all its
    rows.

    Args:
        source: one of

            * a `.jsonl` file (or `.jsonl.gz`) of rows;
            * a BEIR folder: each document judged above 0 (title and text) is a positive of its query; or a folder of
              BEIR folders, of which those without the split are left out and logged;
            * LlamaIndex's `EmbeddingQAFinetuneDataset`, as `.json` file or object;
            * a `datasets.Dataset`, or a `DatasetDict` of them;
            * an iterable of `Pair` or of mappings.
        split: of the judgements of BEIR folders, or of a dictionary of data sets.
        domain: of rows without one; if None, the name of their file without its ending, else the empty name. The domain
            of a BEIR document is "<set>/<metadata.domain>" or "<set>", where the set is `domain` or else the folder.

    Raises:
        TrainingDataError: there are no pairs, a file is missing or cannot be read, columns are missing or ambiguous, or
            a text is empty or invalid; names file and row.
        ConfigurationError: `split` or `domain` does not apply to the source.
    """
    try:
        return TrainingPairs.of(_some(_pairs(source, split, domain), _called(source)))
    except (CorpusFileError, InvalidTextError, InvalidDocumentError) as error:
        raise TrainingDataError(str(error)) from error


def _pairs(source: PairSource, split: str, domain: str | None) -> Iterator[Pair]:
    if isinstance(source, str | PathLike):
        return _path_pairs(Path(source), split, domain)
    if isinstance(source, Mapping):
        return _row_pairs(_of_split(source, split), f"{_called(source)}[{split!r}]", domain)
    _refuse_split(split, _called(source))
    if isinstance(source, QADataset):
        return qa_object_pairs(source, domain or "")
    if not is_iterable(source):
        raise TrainingDataError(
            f"pairs cannot be read from a {type(source).__name__}; give a path, a data set, or an iterable of pairs, "
            f"such as the .pairs of the result of pairs_from_corpus"
        )
    return _row_pairs(source, _called(source), domain)


def _path_pairs(path: Path, split: str, domain: str | None) -> Iterator[Pair]:
    if is_folder(path):
        return _folder_pairs(path, split, domain)
    if not is_file(path):
        raise TrainingDataError(f"{path} does not exist; give a file of pairs or a BEIR folder")
    _refuse_split(split, str(path))
    name = path.name.lower()
    called = domain or Path(path.name.removesuffix(".gz")).stem
    if name.endswith(ENDINGS["jsonl"]):
        rows = RowReader(str(path), called)
        return (rows.pair(row.values, row.place) for row in json_rows(File(path, path.name)))
    if name.endswith(_QA_ENDINGS):
        return qa_file_pairs(path, called)
    raise TrainingDataError(
        f"{path}: pairs are read from {', '.join((*ENDINGS['jsonl'], *_QA_ENDINGS))}; load other formats with "
        f"datasets.load_dataset and give the data set"
    )


def _folder_pairs(folder: Path, split: str, domain: str | None) -> Iterator[Pair]:
    if is_beir(folder):
        return beir_pairs(folder, split, domain or folder.resolve().name)
    sets = beir_sets(folder, split)
    if domain is not None:
        raise ConfigurationError(
            f"domain= names one set, but {folder} holds {len(sets)}, each named after its folder; leave domain= out"
        )
    return (pair for found in sets for pair in beir_pairs(found, split, found.name))


def _row_pairs(items: Iterable[Any], called: str, domain: str | None) -> Iterator[Pair]:
    rows = RowReader(called, domain or "")
    return (rows.pair(item, f"{called}, row {number}") for number, item in enumerate(items))


def _of_split(source: Mapping[str, Any], split: str) -> Iterable[Any]:
    if split not in source:
        raise TrainingDataError(
            f"a mapping must hold data sets by split, but it has no {split!r}, only {[*source][:10]}; name another "
            f"split, or turn columns into a data set with datasets.Dataset.from_dict"
        )
    found: Iterable[Any] = source[split]
    return found


def _refuse_split(split: str, called: str) -> None:
    if split != _DEFAULT_SPLIT:
        raise ConfigurationError(
            f"split= is for BEIR folders and dictionaries of data sets, not {called}; leave it out"
        )


def _called(source: object) -> str:
    return str(source) if isinstance(source, str | PathLike) else f"a {type(source).__name__}"


def _some(pairs: Iterator[Pair], called: str) -> Iterator[Pair]:
    """The pairs; raises TrainingDataError if there is none."""
    is_empty = True
    for pair in pairs:
        is_empty = False
        yield pair
    if is_empty:
        raise TrainingDataError(f"{called} holds no pairs to train on; give at least one batch of them")
