"""A TCP relay before a server, which can slow it down, silence it, hang up, or answer in its place."""

import socket
import threading
import time
from contextlib import suppress

import pytest
from servers import HOST, PostgresServer

DENIAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 20\r\nConnection: close\r\n\r\nInvalid access token"
_CHUNK = 65536  # bytes


class Relay:
    """Connections to `port` lead to another port of this machine.

    Attributes:
        delay: seconds before anything is passed on.
        is_silent: whether nothing is passed on any more, while connections are taken and stay open.
        refuses: whether connections, present and new, are closed at once.
        answer: what a new connection is answered, whatever it asks, before it is closed; None to lead it on.
    """

    def __init__(self, target):
        self.target, self.delay, self.refuses, self.answer = target, 0.0, False, None
        self.is_silent = False
        self._listening = socket.create_server((HOST, 0))
        self._open = set()
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def refuse(self):
        self.refuses = True
        for each in list(self._open):
            self._end(each)

    def close(self):
        self.refuse()
        self._end(self._listening)

    def _accept(self):
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:  # it was closed
                return
            self._open.add(client)
            if self.refuses:
                self._end(client)
            elif self.answer is not None:
                threading.Thread(target=self._reply, args=(client,), daemon=True).start()
            else:
                server = socket.create_connection((HOST, self.target))
                self._open.add(server)
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _reply(self, client):
        with suppress(OSError):
            while client.recv(_CHUNK):
                client.sendall(self.answer)
        self._end(client)

    def _pass_on(self, source, target):
        with suppress(OSError):
            while found := source.recv(_CHUNK):
                time.sleep(self.delay)
                if not self.is_silent:
                    target.sendall(found)
        self._end(source)
        self._end(target)

    def _end(self, connection):
        self._open.discard(connection)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()


class Behind:
    """A server as it is behind a relay."""

    address = PostgresServer.address

    def __init__(self, relay):
        self.port = relay.port


def assert_every_call_raises(calls, message):
    """Every call raises an error that says so, and none that says nothing of its cause."""
    for call in calls:
        with pytest.raises(Exception, match=message) as raised:
            call()
        assert not isinstance(raised.value, AssertionError | AttributeError | KeyError | TypeError)
