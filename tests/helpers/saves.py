"""Every kind of thing that is saved, in versions that can be told apart."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from bag_of_words import BagOfWords
from evaluated import evaluation
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import TextNode
from matplotlib.figure import Figure
from matplotlib.image import imread
from tiny import CORPUS, build_tokenizer

from cde_retrievers import ContextualEncoder
from cde_retrievers.context.context import CorpusContext
from cde_retrievers.evaluation import Evaluation
from cde_retrievers.evaluation.pictures.canvas import new_figure, save_picture
from cde_retrievers.index import ContextualIndex, Document
from cde_retrievers.llama_index import ContextualEmbedding, ContextualVectorStore, load_index, persist_index, stamped
from cde_retrievers.model.contextual import ContextualModel
from cde_retrievers.storage.atomic import recovered
from cde_retrievers.training.array_cache import cached_arrays, write_rows
from cde_retrievers.training.checkpoint_writer import write_weights
from cde_retrievers.training.checkpoints import delete_old, mark_complete, newest_complete
from cde_retrievers.training.data.qa_beir import QAData


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing that is saved.

    Attributes:
        save: writes a version, counted from 1, to a path; over an older one, if there is one.
        read: the version at the path, checked as its readers check it.
        ending: of the path.
    """

    save: Callable[[Path, int], object]
    read: Callable[[Path], int]
    ending: str = ""


@cache
def context(version: int) -> CorpusContext:
    return BagOfWords().fit_context(CORPUS, seed=version)


@cache
def encoder(biencoder: Path, version: int) -> ContextualEncoder:
    model = ContextualModel.from_biencoder(biencoder, "whitening", context_size=16 + version)
    return ContextualEncoder(model, build_tokenizer(), device="cpu", dtype="float32", name="tiny")


@cache
def picture(version: int) -> Figure:
    figure = new_figure(version)
    figure.text(0, 0, "words")
    return figure


def read_picture(path: Path) -> int:
    return round(imread(path).shape[0] / 150)


@cache
def embedding(biencoder: Path) -> ContextualEmbedding:
    return ContextualEmbedding(encoder=encoder(biencoder, 0)).fit(CORPUS)


@cache
def nodes_in_memory(biencoder: Path, version: int) -> VectorStoreIndex:
    nodes = [TextNode(text=text, id_=text) for text in CORPUS[:version]]
    model = embedding(biencoder)
    return VectorStoreIndex(stamped(nodes, model), embed_model=model)


@cache
def vector_store(biencoder: Path, version: int) -> ContextualVectorStore:
    model = embedding(biencoder)
    store = ContextualVectorStore(model)
    store.add(model(stamped([TextNode(text=text, id_=text) for text in CORPUS[:version]], model)))
    return store


def save_checkpoint(path: Path, version: int) -> None:
    checkpoint = path / f"checkpoint-{version}"
    module = torch.nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(version)
    write_weights(checkpoint, module, {"version": version})
    (checkpoint / "optimizer.pt").write_bytes(bytes(1000))
    mark_complete(checkpoint, {"version": version})
    delete_old(path, 1, None)


def read_checkpoint(path: Path) -> int:
    newest = newest_complete(path)
    if newest is None:
        raise FileNotFoundError(path)
    return int(newest.name.removeprefix("checkpoint-"))


def save_cache(path: Path, version: int) -> None:
    cached_arrays(path, "rows", {"version": version}, lambda new: write_rows(new / "rows.npy", (1, 1), [_row(version)]))


def _row(version: int) -> np.ndarray:
    return np.full((1, 1), version, dtype=np.float32)


def read_cache(path: Path) -> int:
    def refuse(_: Path) -> None:
        raise FileNotFoundError(path)

    for version in (3, 2, 1):
        try:
            return int(cached_arrays(path, "rows", {"version": version}, refuse)["rows"][0, 0])
        except OSError:  # to make it is refused, or fails on a full disk
            pass
    raise FileNotFoundError(path)


def save_qa_data(path: Path, version: int) -> None:
    texts = {f"d{i}": CORPUS[i] for i in range(version)}
    QAData({"q": "which?"}, texts, {"q": ["d0"]}).write_beir(path)


def read_qa_data(path: Path) -> int:
    assert (recovered(path) / "qrels" / "test.tsv").read_text()
    return len((path / "corpus.jsonl").read_text().splitlines())


def save_index(path: Path, version: int) -> None:
    """The first version is a build, the others change a document."""
    document = Document(f"version {version}", id="version", metadata={"version": version})
    if version == 1:
        ContextualIndex.build([document, *CORPUS], BagOfWords(), path)
    else:
        ContextualIndex.open(path, BagOfWords()).upsert([document])


def read_index(path: Path) -> int:
    index = ContextualIndex.open(path, BagOfWords(), read_only=True)
    assert len(index) == len(CORPUS) + 1
    return index.get(["version"])[0].metadata["version"]


def save_refitted(path: Path, version: int) -> None:
    """The first version is a build, the others are refits."""
    if version == 1:
        ContextualIndex.build(CORPUS, BagOfWords(), path, seed=1)
    else:
        ContextualIndex.open(path, BagOfWords()).refit(seed=version)


def read_refitted(path: Path) -> int:
    index = ContextualIndex.open(path, BagOfWords(), read_only=True)
    assert len(index) == len(CORPUS)
    return index.context.seed


def kinds(biencoder: Path) -> dict[str, Kind]:
    """By name; `biencoder` is a directory of one."""
    made = partial(encoder, biencoder)
    model = embedding(biencoder)
    return {
        "context": Kind(lambda path, v: context(v).save(path), lambda path: CorpusContext.load(path).seed),
        "encoder": Kind(
            lambda path, v: made(v).save(path),
            lambda path: ContextualEncoder.from_pretrained(path, device="cpu").model.config.context_size - 16,
        ),
        "model": Kind(
            lambda path, v: made(v).model.save(path),
            lambda path: ContextualModel.from_pretrained(path).config.context_size - 16,
        ),
        "evaluation": Kind(
            lambda path, v: evaluation(v / 10).save(path),
            lambda path: round(Evaluation.load(path).mean().mean * 10),
            ".json",
        ),
        "picture": Kind(lambda path, v: save_picture(picture(v), path), read_picture, ".png"),
        "checkpoint": Kind(save_checkpoint, read_checkpoint),
        "cached arrays": Kind(save_cache, read_cache),
        "question data": Kind(save_qa_data, read_qa_data),
        "LlamaIndex index": Kind(
            lambda path, v: persist_index(nodes_in_memory(biencoder, v), model, path),
            lambda path: len(load_index(path, model).docstore.docs),
        ),
        "vector store": Kind(
            lambda path, v: vector_store(biencoder, v).persist(str(path)),
            lambda path: len(ContextualIndex.open(path, made(0), read_only=True)),
        ),
        "index": Kind(save_index, read_index),
        "refitted index": Kind(save_refitted, read_refitted),
    }
