"""Regeneration of single images, in one more process: rare requests that need a network and an answer at once.

The process takes an image's id on each line of stdin and answers with one line of JSON. It ends when stdin closes, so
it never outlives the server.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from threading import Lock, Timer
from typing import Any

from synthbank.errors import SetupError
from synthbank.service.settings import ServiceSettings

_WAIT_SEC = 120.0


class Regenerator:
    """Makes images again, away from the server's process; its process starts with the first request.

    Args:
        settings: of the service; the signing secret stays here.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings_json = settings.model_dump_json(exclude={"secret"})
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def regenerate(self, image_id: str) -> tuple[bool, bytes]:
        """Make an image again: (`True` if it equals its record, its PNG)."""
        with self._lock:
            answer = self._request(image_id)
        if "problem" in answer:
            raise SetupError("The image could not be made again", got=answer["problem"])
        return answer["equal"], base64.b64decode(answer["png"])

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _request(self, image_id: str) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = self._spawn()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        # a read from a pipe has no time limit of its own: the timer ends the process, and the read returns
        limit = Timer(_WAIT_SEC, process.kill)
        limit.start()
        try:
            print(image_id, file=process.stdin, flush=True)
            line = process.stdout.readline()
        finally:
            limit.cancel()
        if not line:
            self.stop()
            return {"problem": "the process that makes images again has ended"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _spawn(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "synthbank.service.process", "regenerate"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        print(self._settings_json, file=process.stdin, flush=True)
        return process
