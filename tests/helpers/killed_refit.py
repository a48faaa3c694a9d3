"""Refit a served store in a process that kills itself at a change to the database.

python killed_refit.py SERVICE PORT NAME FOLDER STEP    FOLDER has the `model`, the readers' context `served`, and `new`
"""

import os
import signal
import sys
from pathlib import Path

import pytest
import refitted
from served import KINDS
from servers import PostgresServer

from cde_retrievers.encoder import ContextualEncoder
from cde_retrievers.langchain import ContextualEmbeddings, refit_store
from cde_retrievers.langchain.stores.registry import find_kind


class Running:
    """A server that another process runs."""

    address = PostgresServer.address

    def __init__(self, port):
        self.port = port


def run(service_name: str, port: str, name: str, folder: str, step: str) -> None:
    place = Path(folder)
    encoder = ContextualEncoder.from_pretrained(place / "model", device="cpu")
    embeddings = ContextualEmbeddings(encoder=encoder, context_path=place / "served")
    service = KINDS[service_name](Running(int(port)), place)
    refitted.end = lambda: os.kill(os.getpid(), signal.SIGKILL)
    refitted.kill_at(pytest.MonkeyPatch(), find_kind(service.store_class()), int(step))
    refit_store(service.open(embeddings, name), embeddings, place / "new", batch_size=40)


if __name__ == "__main__":
    run(*sys.argv[1:])
