"""A model server of the standard library that scores `id,x,y` as x + 2y, or misbehaves as MOOD says.

Each request has a process of its own, as with servers that start their workers anew: one that dies leaves its request
without an answer, and the next one is served.
"""

from __future__ import annotations

import csv
import io
import json
import os
import socketserver
from http.server import BaseHTTPRequestHandler

MOOD = os.environ.get("MOOD", "sound")
#: The value of x that this model cannot take.
POISON = "-1.25"


def answers(rows: list[list[str]], mood: str) -> list[str]:
    """An answer for each row, in the mood's way."""
    found = [{"id": name, "score": float(x) + 2 * float(y)} for name, x, y in rows]
    if mood == "drops a row":
        found = found[:-1]
    elif mood == "permutes rows":
        found = found[::-1]
    elif mood == "answers NaN":
        found[len(found) // 2]["score"] = float("nan")
    if mood == "answers too few columns":
        return [str(each["score"]) for each in found]
    return [json.dumps(each) for each in found]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/ping" else 404, b"")

    def do_POST(self) -> None:
        rows = list(csv.reader(io.StringIO(self._body().decode())))
        if any(row[1] == POISON for row in rows):
            if MOOD == "dies on a record":
                os._exit(139)
            if MOOD == "refuses a record":
                self._answer(400, f"ValueError: x is {POISON}, allowed is 0 or more".encode())
                return
        self._answer(200, "".join(f"{line}\n" for line in answers(rows, MOOD)).encode())

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True


class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    request_queue_size = 64


if __name__ == "__main__":
    Server(("127.0.0.1", int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))), Handler).serve_forever()
