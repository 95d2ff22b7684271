"""Commands of `lure` in processes of their own that need not load torch again: a server that has, and forks.

    python tests/helpers/warm.py serve SOCKET       answers until its standard input ends
    python tests/helpers/warm.py ask SOCKET ARGS... `lure ARGS...`, with this process's streams, folder and environment

A process that is asked for is a fork: arguments, standard streams, working folder, environment and exit code are those
of a command typed in a shell; SIGINT and SIGTERM are passed on to it. What it does not show is how a fresh interpreter
starts; tests of that start one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

HEAVY = (
    "torch",
    "torch._dynamo",
    "lure_cli.cli",
    *(f"lure_cli.tasks.{n}" for n in ("evaluate.evaluate", "inference.fuse", "train.trainer")),
)


def serve(address: str) -> None:
    """Load what is slow to load, then fork for each connection."""
    import importlib

    for name in HEAVY:
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        child = os.fork()
        if child == 0:
            listener.close()
            _answer(connection)
        connection.close()
        while True:  # those that have ended
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
    for _ in iter(_reap, None):
        pass


def _reap() -> int | None:
    try:
        return os.wait()[0]
    except ChildProcessError:
        return None


def _answer(connection: socket.socket) -> None:
    """In the fork: become the command, and tell its exit code."""
    from lure_cli.cli import main

    code: object = 1
    try:
        connection.sendall(f"{os.getpid()}\n".encode())
        message, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        while not message.endswith(b"\n"):
            message += connection.recv(1 << 20)
        request = json.loads(message)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        try:
            main(request["arguments"])
        except SystemExit as stop:
            code = stop.code
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        connection.sendall(f"{code if isinstance(code, int) else int(bool(code))}".encode())
        os._exit(0)


def ask(address: str, arguments: list[str]) -> int:
    """The exit code of the command."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    answer = connection.makefile("r")
    child = int(answer.readline())
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: os.kill(child, number))
    request = {"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}
    message = json.dumps(request).encode() + b"\n"
    sent = socket.send_fds(connection, [message], [0, 1, 2])
    connection.sendall(message[sent:])
    for number in (0, 1, 2):  # whoever reads our output waits for the command's end, not for ours
        os.close(number)
    return int(answer.read() or 1)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        os._exit(ask(sys.argv[2], sys.argv[3:]))
