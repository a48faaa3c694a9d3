"""Measuring how far new documents lie from the corpus of a context."""

from collections.abc import Iterable

from cde_retrievers.context.context import CorpusContext
from cde_retrievers.context.selection import draw_candidates
from cde_retrievers.drift.report import DriftReport
from cde_retrievers.drift.samples import IndexedCorpus, Unknown, known_digests, sample_of_corpus
from cde_retrievers.drift.two_sample import SMALLEST_SAMPLE, compare
from cde_retrievers.encoder.embedder import Embedder, checked_embedder
from cde_retrievers.errors import ConfigurationError, SampleTooSmallError
from cde_retrievers.validation.numbers import check_whole
from cde_retrievers.validation.signatures import validated
from cde_retrievers.validation.vectors import checked_vectors


@validated
def measure(
    reference: CorpusContext | IndexedCorpus,
    new_texts: Iterable[str],
    embedder: Embedder | None = None,
    *,
    sample: int = 512,
    seed: int = 0,
    show_progress: bool | None = None,
) -> DriftReport:
    """Compare new documents with the corpus of a context, by first-stage vectors.

    A context of strategy "random" is a fair sample of its corpus and costs nothing to compare with. One chosen
    otherwise is not; then a sample of the index's texts is embedded, as they are now: measure before you add.
    New texts that are of the corpus already, as far as that is known, are left out; repeated ones count once. Of an
    index that the context was fitted on all are known, of a context alone its own documents. If nothing is left, the
    report says "nothing new"; if fewer than 16 are, "too few".

    Documents drawn independently from the same source are called "as expected" at least 99 times in 100. Documents
    that come in clusters, such as the chapters of one book, differ from a mixed corpus even if more books of its
    kind are on the way: take the new texts from as many sources as the corpus has.

    Args:
        reference: an index, or a context of strategy "random".
        new_texts: documents as they would be embedded; any iterable, read once, in bounded memory.
        embedder: the embedder that fitted the context; not needed with an index.
        sample: largest number of new documents to embed, drawn from all; also of corpus documents, if the context
            is not a fair sample of it.
        seed: seed of the draws and of the test; the same texts and seed give the same report.
        show_progress: None shows a bar for long work only.

    Raises:
        ConfigurationError: an argument is impossible, or the context alone is not a fair sample of its corpus.
        ContextMismatchError: the embedder did not fit the context.
        InvalidTextError: the new texts are not a collection of texts.
        EmbeddingServiceError: the embedder did not return one vector for each text.
        SampleTooSmallError: there are no texts, or too few distinct documents of the corpus.
    """
    check_whole("sample", sample, SMALLEST_SAMPLE)
    check_whole("seed", seed, 0)
    context, embedder = _context_and_embedder(reference, embedder)
    embedder.check_context(context)
    corpus = sample_of_corpus(reference, context, sample, seed)
    unknown = Unknown(new_texts, corpus.digests | known_digests(reference, context))
    new = draw_candidates(unknown, sample, seed)
    if not new.texts and not unknown.left_out:
        raise SampleTooSmallError(f"at least {SMALLEST_SAMPLE} distinct new texts are needed, found 0")
    if len(new.texts) < SMALLEST_SAMPLE:
        return DriftReport.of_no_comparison(
            new_sample=len(new.texts),
            new_texts=new.seen,
            left_out=unknown.left_out,
            corpus_sample=len(corpus.digests),
            context=context.fingerprint,
            model_name=embedder.name,
        )
    corpus_vectors = corpus.vectors
    if corpus_vectors is None:
        answer = embedder.first_stage_vectors(corpus.texts, show_progress)
        corpus_vectors = checked_vectors(answer, len(corpus.texts), None)
    new_vectors = checked_vectors(
        embedder.first_stage_vectors(new.texts, show_progress), len(new.texts), corpus_vectors.shape[1]
    )
    found = compare(corpus_vectors, new_vectors, seed)
    return DriftReport(
        statistic=found.statistic,
        threshold=found.threshold,
        p_value=found.p_value,
        share=found.share,
        corpus_sample=len(corpus.digests),
        new_sample=len(new.texts),
        new_texts=new.seen,
        left_out=unknown.left_out,
        context=context.fingerprint,
        model_name=embedder.name,
    )


def _context_and_embedder(reference: object, embedder: Embedder | None) -> tuple[CorpusContext, Embedder]:
    if isinstance(reference, CorpusContext):
        context = reference
    elif isinstance(reference, IndexedCorpus):
        context, embedder = reference.context, reference.embedder if embedder is None else embedder
    else:
        raise ConfigurationError(f"an index or a CorpusContext is needed, found {type(reference).__name__}")
    try:
        return context, checked_embedder(embedder)
    except ConfigurationError as error:
        raise ConfigurationError(
            f"the embedder that fitted the context is needed, found {type(embedder).__name__}; "
            f"give the ContextualEncoder, measure(context, new_texts, encoder), or an index, which has its own"
        ) from error
