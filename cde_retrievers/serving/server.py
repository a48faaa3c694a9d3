"""The server: a socket, and uvicorn on it."""

import ipaddress
import os
import socket
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from cde_retrievers.errors import ConfigurationError

TOKEN_VARIABLE = "CDE_RETRIEVERS_TOKEN"
_STOPPING_SECONDS = 30  # for the requests that are being answered


def read_token(path: Path | None) -> str | None:
    """Return the token in a file, or else in the environment variable; None if neither is given.

    Raises:
        ConfigurationError: it cannot be read, is empty, or holds what a header cannot.
    """
    if path is None and TOKEN_VARIABLE not in os.environ:
        return None
    source = TOKEN_VARIABLE if path is None else str(path)
    try:
        token = (os.environ[TOKEN_VARIABLE] if path is None else path.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the token in {source} cannot be read: {error}; give a file of one line") from error
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(
            f"the token in {source} is empty, or has other characters than visible ASCII; make one with "
            f"`openssl rand -hex 32`"
        )
    return token


def listening_socket(host: str, port: int, token: str | None) -> socket.socket:
    """Return a socket that listens; port 0 is any that is free.

    Raises:
        ConfigurationError: the address is not this machine's or in use, or others can reach it and there is no token.
    """
    if token is None and not _is_loopback(host):
        raise ConfigurationError(
            f"{host} can be reached from other machines, and there is no token; set one in {TOKEN_VARIABLE} or with "
            f"--token-file, or serve 127.0.0.1"
        )
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, backlog=2_048, dualstack_ipv6=both)
    except (OSError, OverflowError, UnicodeError) as error:
        raise ConfigurationError(f"{host}, port {port} cannot be served ({error}); choose others") from error


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def address_of(listener: socket.socket) -> str:
    """Return the URL for OpenAI's clients (`base_url`)."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def make_server(application: Starlette) -> uvicorn.Server:
    """Return a server; `run(sockets=[listener])` serves until a signal, or until its `should_exit` is set."""
    config = uvicorn.Config(
        application,
        http="h11",  # refuses headers of more than some kilobytes
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_STOPPING_SECONDS,
        lifespan="on",
    )
    return uvicorn.Server(config)
