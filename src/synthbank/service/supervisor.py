"""The supervisor: starts worker processes, replaces one that dies, and ends them in good order.

Each worker reads its settings from its stdin, which the server keeps open. The pipe is the lifeline: when the server
ends in any way, even by SIGKILL, the system closes the pipe, and the worker stops by itself.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time

from synthbank.service.settings import ServiceSettings

log = logging.getLogger("synthbank.supervisor")
_POLL_SEC = 0.2
_GRACE_SEC = 30.0
_LONGEST_PAUSE_SEC = 30.0


class Supervisor:
    """The worker processes of one server.

    Args:
        settings: handed to each worker on its stdin; the signing secret stays here.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._settings_line = settings.model_dump_json(exclude={"secret"}).encode() + b"\n"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self.restarts = 0

    @property
    def pids(self) -> list[int]:
        """Process ids of the living workers."""
        return [process.pid for process in self._processes if process.poll() is None]

    def start(self) -> None:
        """Start the workers."""
        self._processes = [self._spawn() for _ in range(self._settings.workers)]
        if self._processes:
            self._thread.start()

    def stop(self) -> None:
        """Ask the workers to finish their forward pass and release their jobs; kill those that do not end in time."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + _GRACE_SEC
        for process in self._processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-m", "synthbank.service.worker"], stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(self._settings_line)
        process.stdin.flush()  # and stays open
        return process

    def _watch(self) -> None:
        pause, born = 1.0, time.monotonic()
        while not self._stopping.wait(_POLL_SEC):
            for i, process in enumerate(self._processes):
                if process.poll() is None:
                    continue
                log.warning("worker %s ended with %s; starting another", process.pid, process.returncode)
                # a worker that dies at once, such as for a missing library, is not started in a tight loop:
                # the pause doubles with each early death, and is short again after a long life
                pause = 1.0 if time.monotonic() - born > _LONGEST_PAUSE_SEC else min(pause * 2, _LONGEST_PAUSE_SEC)
                if self.restarts and self._stopping.wait(pause):
                    return
                assert process.stdin is not None
                process.stdin.close()
                self._processes[i], born = self._spawn(), time.monotonic()
                self.restarts += 1
