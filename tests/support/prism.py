"""Prism between a client and a fake: a proxy that holds both to an official schema.

Needs the command ``prism`` (npm package @stoplight/prism-cli): ``nox -s contracts`` brings it. It is looked for at
FXCARRY_PRISM, on the PATH and in node_modules of the tree.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from fxcarry.testing import WireServer

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT.parent / "shared" / "specs"
PRISM = (
    os.environ.get("FXCARRY_PRISM") or shutil.which("prism") or shutil.which("prism", path=ROOT / "node_modules/.bin")
)


def needed(name: str) -> list[pytest.MarkDecorator]:
    """Marks of a module that needs the schema of that name, and Prism."""
    return [
        pytest.mark.skipif(not (SPECS / name).is_file(), reason=f"there is no {SPECS / name}"),
        pytest.mark.skipif(PRISM is None, reason="there is no prism: npm install @stoplight/prism-cli@5.14.2"),
    ]


def schema(name: str) -> Any:
    """A schema as it is published."""
    return json.loads((SPECS / name).read_text("utf-8"))


class Line:
    """A proxy at ``url`` before a server, which answers as the ``fake`` of the moment."""

    def __init__(self, fake: Any) -> None:
        self.fake = fake
        self.server = WireServer(lambda request: self.fake.answer(request))
        self.url = ""
        self.said: list[str] = []

    @contextmanager
    def open(self, spec: Path) -> Iterator[None]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["-h", "127.0.0.1", "-p", str(port), "--errors", "--multiprocess", "false"]
        command = [str(PRISM), "proxy", *options, str(spec), self.server.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = process.stdout
        assert said is not None
        reader = threading.Thread(target=lambda: self.said.extend(iter(said.readline, "")))
        reader.start()
        try:
            deadline = time.monotonic() + 60
            while not any("Prism is listening" in line for line in self.said):
                assert process.poll() is None, "".join(self.said)
                assert time.monotonic() < deadline, "".join(self.said)
                time.sleep(0.05)
            self.url = f"http://127.0.0.1:{port}"
            yield
        finally:
            process.terminate()
            process.wait(10)
            reader.join(10)
            said.close()


@contextmanager
def line(spec: Any, folder: Path, fake: Any) -> Iterator[Line]:
    """A proxy that checks by ``spec``."""
    path = folder / "spec.json"
    path.write_text(json.dumps(spec), "utf-8")
    made = Line(fake)
    with made.server, made.open(path):
        yield made


def heard(patch: pytest.MonkeyPatch) -> list[requests.Response]:
    """What clients are answered from here on."""
    answers: list[requests.Response] = []
    send = requests.Session.send

    def sent(session: requests.Session, prepared: Any, **options: Any) -> requests.Response:
        answers.append(send(session, prepared, **options))
        return answers[-1]

    patch.setattr(requests.Session, "send", sent)
    return answers


@contextmanager
def unbroken(patch: pytest.MonkeyPatch) -> Iterator[list[requests.Response]]:
    """What clients were answered meanwhile. Nothing in it may break the contract, in either direction."""
    answers = heard(patch)
    yield answers
    assert [a.text for a in answers if a.status_code in (422, 500) or "sl-violations" in a.headers] == []
