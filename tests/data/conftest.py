"""A web server on this machine that misbehaves on demand, and the real images to test on."""

import hashlib
import http.server
import threading
from dataclasses import dataclass, field

import pytest

from ganlab import data
from ganlab.data.catalogue import File
from ganlab.errors import DataError

PAGE = b"<!DOCTYPE html><html><body>Too many users have viewed or downloaded this file recently.</body></html>"


@dataclass
class Server:
    """`server.file(content, "cut", "ok")` is a file whose first address cuts the connection and second works."""

    port: int = 0
    contents: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)  # (behaviour, Range header)

    def file(self, content: bytes, *behaviours: str, name: str = "a.bin", hashed: bool = True) -> File:
        self.contents[name] = content
        return File(name, tuple(f"http://127.0.0.1:{self.port}/{b}/{name}" for b in behaviours), len(content),
                    hashlib.sha256(content).hexdigest() if hashed else None)


def handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            behaviour, name = self.path.strip("/").split("/")
            asked = self.headers.get("Range")
            server.requests.append((behaviour, asked))
            content = server.contents[name]
            if behaviour == "hangup":
                return
            if behaviour in ("404", "403", "500"):
                return self.send_error(int(behaviour))
            if behaviour == "html":
                return self.answer(200, PAGE, kind="text/html; charset=utf-8")
            if behaviour == "disguised":
                return self.answer(200, PAGE)
            if behaviour == "wrong":
                content = bytes(len(content))
            if behaviour == "longer":
                content = content + b"more"
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and behaviour != "norange" else 0
            if start >= len(content):
                return self.send_error(416)
            body = content[start:]
            self.answer(206 if start else 200, body, start, len(content),
                        (len(body) + 1) // 2 if behaviour == "cut" else 0 if behaviour == "nothing" else None)

        def answer(self, code: int, body: bytes, start: int = 0, total: int = 0, stop: int | None = None,
                   kind: str = "application/octet-stream") -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if code == 206:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            self.wfile.write(body[:stop])

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def server():
    state = Server()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(state))
    state.port = web.server_port
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield state
    web.shutdown()
    web.server_close()


@pytest.fixture(scope="session")
def real() -> data.Images:
    """MNIST's test images where GANLAB_DATA has them; otherwise all of the embedded digits, for the same tests."""
    try:
        return data.load("mnist", split="test", download=False)
    except DataError:
        return data.load("digits", split="all")
