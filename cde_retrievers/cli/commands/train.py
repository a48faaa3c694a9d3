"""`train`: train a model on pairs, or on documents alone."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from cde_retrievers.cli.commands.build import refuse_inside
from cde_retrievers.cli.options.common import OutputOptions
from cde_retrievers.cli.options.training import BaseModelOptions, TrainingOptions, TrainingSource
from cde_retrievers.cli.reading import read_once
from cde_retrievers.cli.session import Session, session
from cde_retrievers.errors import CDEError, PathInUseError, TrainingDataError, TrainingError

if TYPE_CHECKING:
    from cde_retrievers.encoder.encoder import ContextualEncoder
    from cde_retrievers.training.config import TrainingConfig
    from cde_retrievers.training.data.pairs import TrainingPairs
    from cde_retrievers.training.run import TrainingResult

_WAYS_OUT: dict[type[CDEError], str] = {
    TrainingError: "--resume continues from a checkpoint, another --out starts over"
}


def train(
    source: TrainingSource,
    out: Annotated[Path, Option(help="Directory for checkpoints, the log and the trained model.", show_default=False)],
    base: BaseModelOptions,
    training: TrainingOptions,
    output: OutputOptions,
    from_documents: Annotated[
        bool,
        Option(
            "--from-documents",
            help="SOURCE holds documents: make pairs of titles, headings and first sentences with what follows them.",
        ),
    ] = False,
    resume: Annotated[bool, Option("--resume", help="Continue from the newest checkpoint in --out.")] = False,
) -> None:
    """Train a model on the pairs of SOURCE, or on pairs made of documents.

    Before it begins, it says what the pairs are like. After an interruption `--resume` continues from there, to the
    same weights. On several GPUs: `torchrun -m cde_retrievers.training run.toml`.
    """
    with session(output) as run:
        from cde_retrievers.cli.judgements import check_judgements
        from cde_retrievers.cli.options.training import training_config
        from cde_retrievers.cli.train_summary import summary
        from cde_retrievers.training.base_model import encoder_to_train
        from cde_retrievers.training.checkpoints import check_start
        from cde_retrievers.training.data.pair_statistics import check_enough, describe_pairs

        refuse_inside(out, source.source)
        _refuse_used(out, resume)
        config = training_config(out, base, training, run.show_progress)
        for folder in config.evaluation:
            check_judgements(Path(folder), config.evaluation_split)
        run.way_out = _WAYS_OUT
        check_start(config.output_folder, resume=resume)
        run.way_out = {}
        load = cache(partial(encoder_to_train, base.model, **base.settings))
        pairs, made = _made_pairs(source, run, load) if from_documents else (_given_pairs(source, run), {})
        check_enough(pairs, config.global_batch_size)
        encoder = load()
        report = describe_pairs(pairs, encoder, batch_size=config.global_batch_size)
        run.say(str(report))
        result = _trained(pairs, encoder, config, resume, run)
        found = summary(result, config, base.model)
        if found.is_worse:
            run.warn("the trained model finds less than it did before training; see nDCG@10 before and after")
        run.answer({**found.to_dict(), "pairs": report.to_dict(), **made}, *found.lines(len(pairs)))


def _given_pairs(source: TrainingSource, run: Session) -> "TrainingPairs":
    from cde_retrievers.training.data.read import read_pairs

    source.refuse_reading_options("add --from-documents, or leave it out")
    run.way_out = {TrainingDataError: "if these are documents, add --from-documents"}
    pairs = read_pairs(source.source)
    run.way_out = {}
    return pairs


def _made_pairs(
    source: TrainingSource, run: Session, encoder: Callable[[], "ContextualEncoder"]
) -> tuple["TrainingPairs", dict[str, Any]]:
    from cde_retrievers.training.data.from_corpus import pairs_from_corpus

    made = pairs_from_corpus(read_once(source, run, encoder=encoder))
    run.say(str(made))
    return made.pairs, {"made": made.to_dict()}


def _trained(
    pairs: "TrainingPairs", encoder: "ContextualEncoder", config: "TrainingConfig", resume: bool, run: Session
) -> "TrainingResult":
    from cde_retrievers.training.run import train as train_model

    run.way_out = _WAYS_OUT
    run.if_interrupted = lambda: _state_of(config.output_folder)
    from cde_retrievers.cli.interruption import saving_when_interrupted

    with saving_when_interrupted(run.say) as interruption:
        return train_model(encoder, pairs, config, resume_from_checkpoint=resume or None, callbacks=[interruption])


def _refuse_used(out: Path, resume: bool) -> None:
    """Raise PathInUseError if `out` holds a trained or saved model, which would be lost."""
    from cde_retrievers.model.checkpoints import is_own_layout
    from cde_retrievers.storage.atomic import checked_directory
    from cde_retrievers.training.run import MODEL_FOLDER

    if out.exists() and not out.is_dir():
        raise PathInUseError(f"{out} is a file; give the path of a directory as --out")
    checked_directory(out, is_ours=lambda _: True)
    if is_own_layout(out):
        raise PathInUseError(f"{out} holds a saved model; give another --out")
    if is_own_layout(out / MODEL_FOLDER) and not resume:
        raise PathInUseError(
            f"{out / MODEL_FOLDER} is an already trained model; give another --out, or continue with --resume"
        )


def _state_of(out: Path) -> str:
    from cde_retrievers.training.checkpoints import newest_complete

    newest = newest_complete(out)
    if newest is None:
        return "No checkpoint exists yet; give the same command again."
    return f"{newest} is kept; give the same command with --resume, and it continues from there."
