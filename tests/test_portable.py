"""No module needs what Unix alone has to be imported, and a folder is locked by one process at a time."""

import importlib.util
import subprocess
import sys

import pytest

from synthbank.errors import BusyError
from synthbank.workflows.lease import is_gone, lock_folder, worker_name

_IMPORT_ALL = """
import importlib, sys, warnings
from pathlib import Path
for name in ("fcntl", "pwd", "grp", "resource", "termios"):
    sys.modules[name] = None  # importing it is an error
warnings.filterwarnings("ignore", "only soft file lock is available")
import synthbank
root, count = Path(synthbank.__file__).parent, 0
with_networks = ("models", "metrics", "training", "generation", "workflows", "scale")
for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root).with_suffix("").parts
    if parts[0] == "__main__" or "migrations" in parts:
        continue
    if sys.argv[1] == "heavy" or parts[0] not in with_networks:
        importlib.import_module(".".join(("synthbank", *parts)).removesuffix(".__init__"))
        count += 1
print(count, "torch" in sys.modules)
"""


def _imported(which):
    words = [sys.executable, "-c", _IMPORT_ALL, which]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    count, torch = ran.stdout.split()
    return int(count), torch == "True"


def test_no_module_without_networks_needs_what_unix_alone_has():
    count, torch = _imported("light")
    assert count > 100
    assert not torch


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs torch")
def test_no_module_needs_what_unix_alone_has():
    count, torch = _imported("heavy")
    assert count > 250
    assert torch


_HOLD = """
import sys, time
from pathlib import Path
from synthbank.workflows.lease import lock_folder
with lock_folder(Path(sys.argv[1]), "run"):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_a_folder_is_locked_until_its_process_ends_in_any_way(tmp_path):
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(BusyError, match="Another process works on this run"), lock_folder(tmp_path, "run"):
            pass
        process.kill()
    with lock_folder(tmp_path, "run"):
        pass
    with lock_folder(tmp_path, "run"):  # the end of the block has released it
        pass


def test_a_file_system_without_locks_is_tolerated(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def no_locks(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with lock_folder(tmp_path, "run"):
        assert (tmp_path / "lock").exists()


def test_this_process_is_known_to_run():
    assert not is_gone(worker_name())
