"""A model server of a few lines that answers with the headers of a request, compressed where the client takes gzip."""

import gzip
import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        # Compressed as well, so that who asks has to read it: SingleRecord.
        parameters = json.dumps({"BatchStrategy": "SINGLE_RECORD"}).encode()
        self.answer(200, b"" if self.path == "/ping" else parameters)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if "short" in body:
            self.answer(200, gzip.compress(b"cut")[:-4])
        else:
            self.answer(200, json.dumps({"body": body, **self.headers}).encode() + b"\n")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            body = body if body.startswith(b"\x1f\x8b") else gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
