"""`serve`: embeddings under saved contexts, over HTTP."""

from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Option

from cde_retrievers.cli.options.common import ModelOptions, OutputOptions
from cde_retrievers.cli.session import session

_limit = partial(Option, rich_help_panel="Limits")


def serve(
    contexts: Annotated[
        Path,
        Option(
            metavar="DIR",
            show_default=False,
            help="Directory in which contexts are saved; the names of their directories are the models' names.",
        ),
    ],
    model: ModelOptions,
    output: OutputOptions,
    host: Annotated[str, Option(help="Address to listen on; all but loopback need a token.")] = "127.0.0.1",
    port: Annotated[int, Option(metavar="NUMBER", min=0, max=65_535, help="0 for any that is free.")] = 8000,
    token_file: Annotated[
        Path | None,
        Option(metavar="FILE", help="Holds what clients send as API key (if left out: CDE_RETRIEVERS_TOKEN)."),
    ] = None,
    max_texts: Annotated[int, _limit(metavar="NUMBER", help="Of one request.")] = 2_048,
    max_body_bytes: Annotated[int, _limit(metavar="NUMBER", help="Of one request.")] = 8_388_608,
    max_requests: Annotated[int, _limit(metavar="NUMBER", help="At one time; more are refused (429).")] = 256,
    max_waiting_texts: Annotated[
        int, _limit(metavar="NUMBER", help="Accepted at one time; more are refused (429).")
    ] = 16_384,
    batch_texts: Annotated[int, _limit(metavar="NUMBER", help="Embedded together, of all requests.")] = 64,
) -> None:
    """Answer OpenAI's `/v1/embeddings` under the contexts in a directory.

    The model's name is NAME:query or NAME:document, where NAME is that of a context's directory, or its fingerprint.
    Contexts can be added, replaced and removed while they are served.
    """
    with session(output) as run:
        from cde_retrievers.cli.loading import load_encoder
        from cde_retrievers.serving.contexts import ContextDirectory, refuse_empty
        from cde_retrievers.util.imports import require

        for package in ("starlette", "uvicorn", "prometheus_client"):
            require(package, "serve", extra="serve")
        from cde_retrievers.serving.application import create_application
        from cde_retrievers.serving.server import address_of, listening_socket, make_server, read_token
        from cde_retrievers.serving.settings import ServingSettings

        settings = ServingSettings(
            max_texts=max_texts,
            max_body_bytes=max_body_bytes,
            max_requests=max_requests,
            max_waiting_texts=max_waiting_texts,
            batch_texts=batch_texts,
        )
        refuse_empty(contexts)
        token = read_token(token_file)
        with listening_socket(host, port, token) as listener:
            fitted_by = ContextDirectory(contexts, lambda context: None).all()
            encoder = load_encoder(model, next(iter(fitted_by.values())).model_name)
            served = ContextDirectory(contexts, encoder.check_context)
            run.if_interrupted = lambda: "The server has stopped."
            address = address_of(listener)
            names = list(served.all())
            run.answer(
                {"url": address, "model": encoder.name, "contexts": names, "token": token is not None},
                f"{address}: {', '.join(names)}; Ctrl-C stops it",
            )
            make_server(create_application(encoder, served, settings, token)).run(sockets=[listener])
