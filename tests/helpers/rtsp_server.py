"""A small RTSP server: takes a stream of H.264 that a client announces and records over TCP (RFC 2326, RFC 6184).

    python rtsp_server.py FOLDER PORT [silent]

Prints its port (0: a free one). FOLDER gets `requests`, the methods in turn, and `stream.h264`, the NAL units with
start codes. `silent`: only OPTIONS are answered. A process of its own, as a client may hold up all of its own.
"""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path
from typing import IO

START = b"\0\0\0\1"


class Session:
    """One connection, whose requests and packets are taken one after another."""

    def __init__(self, connection: socket.socket, folder: Path, silent: bool) -> None:
        self._connection, self._silent = connection, silent
        self._file: IO[bytes] = connection.makefile("rb")
        self._folder = folder

    def message(self) -> bool:
        """Take one request, or one packet between them; False at the end."""
        first = self._file.read(1)
        if first == b"$":
            channel, high, low = self._file.read(3)
            packet = self._file.read(high << 8 | low)
            if channel == 0:
                with (self._folder / "stream.h264").open("ab") as out:
                    out.write(nal_units(packet[12:]))
            return True
        head = first
        while first and not head.endswith(b"\r\n\r\n"):
            first = self._file.readline()
            head += first
        if not first:
            return False
        self._answer(head.split()[0].decode(), head.decode())
        return not head.startswith(b"TEARDOWN")

    def _answer(self, method: str, head: str) -> None:
        fields = {k.lower(): v for k, v in re.findall(r"^([\w-]+): *(.*?)\r$", head, re.MULTILINE)}
        self._file.read(int(fields.get("content-length", 0)))
        with (self._folder / "requests").open("a") as out:
            out.write(f"{method}\n")
        answer = f"RTSP/1.0 200 OK\r\nCSeq: {fields.get('cseq', 0)}\r\nSession: 1\r\n"
        if method == "SETUP":
            answer += f"Transport: {fields['transport']}\r\n"
        if method == "OPTIONS":
            answer += "Public: OPTIONS, ANNOUNCE, SETUP, RECORD, TEARDOWN\r\n"
        if method == "OPTIONS" or not self._silent:
            self._connection.sendall(f"{answer}\r\n".encode())


def nal_units(payload: bytes) -> bytes:
    """What an RTP packet holds: one NAL unit, several (STAP-A) or a part of one (FU-A)."""
    kind = payload[0] & 31
    if kind == 24:
        units, payload = b"", payload[1:]
        while payload:
            size = int.from_bytes(payload[:2], "big")
            units += START + payload[2 : 2 + size]
            payload = payload[2 + size :]
        return units
    if kind == 28:
        begins = payload[1] & 0x80
        return (START + bytes([payload[0] & 0xE0 | payload[1] & 31]) if begins else b"") + payload[2:]
    return START + payload


def main() -> None:
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    with socket.create_server(("127.0.0.1", port)) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                session = Session(connection, folder, "silent" in sys.argv)
                try:
                    while session.message():
                        pass
                except OSError:
                    continue


if __name__ == "__main__":
    main()
