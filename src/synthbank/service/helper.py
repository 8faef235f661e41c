"""One more process, for the seldom things that need a network and an answer at once.

It takes an image's id on each line of stdin and answers with one line of JSON; it ends when stdin closes.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from threading import Lock, Timer
from typing import Any

from synthbank.errors import SetupError, SynthBankError
from synthbank.service.settings import ServiceSettings

_WAIT_SEC = 120.0


class Helper:
    """Makes images again, away from the server's process; started when first asked.

    Args:
        settings: of the service; the signing secret stays here.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._line = settings.model_dump_json(exclude={"secret"})
        self._process: subprocess.Popen[str] | None = None
        self._lock = Lock()

    def regenerate(self, image_id: str) -> tuple[bool, bytes]:
        """Whether an image made again equals its record, and its PNG."""
        with self._lock:
            answer = self._ask(image_id)
        if "problem" in answer:
            raise SetupError("The image could not be made again", got=answer["problem"])
        return answer["equal"], base64.b64decode(answer["png"])

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _ask(self, image_id: str) -> dict[str, Any]:
        if self._process is None or self._process.poll() is not None:
            self.stop()
            self._process = self._started()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        late = Timer(_WAIT_SEC, process.kill)
        late.start()
        try:
            print(image_id, file=process.stdin, flush=True)
            line = process.stdout.readline()
        finally:
            late.cancel()
        if not line:
            self.stop()
            return {"problem": "the process that makes images again has ended"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "synthbank.service.helper"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None
        print(self._line, file=process.stdin, flush=True)
        return process


def main() -> None:
    """The process."""
    from synthbank.workflows.bank import open_bank
    from synthbank.workflows.maintenance.verify import regenerate

    settings = ServiceSettings.model_validate_json(sys.stdin.readline())
    with open_bank(settings, create=False) as bank:
        for line in sys.stdin:
            try:
                report = regenerate(bank, line.strip(), device=settings.device)
                answer = {"equal": report.equal, "png": base64.b64encode(report.png()).decode()}
            except SynthBankError as error:
                answer = {"problem": error.message}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
