"""A model server that answers /execution-parameters once it has been asked ASKS times, and the requests as they are."""

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

asks = threading.Semaphore(0)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/execution-parameters":
            asks.release()
            os.write(1, b"asked\n")  # to the log of the job
            for _ in range(int(os.environ["ASKS"])):
                asks.acquire()
            asks.release(int(os.environ["ASKS"]))  # and from then on at once
        self.answer(b'{"MaxConcurrentTransforms": 3}')

    def do_POST(self) -> None:
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Its log is the asks."""


class Server(ThreadingHTTPServer):
    daemon_threads = True


Server(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
