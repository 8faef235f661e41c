import os

from synthbank.settings import Settings
from synthbank.workflows.maintenance.doctor import examine


def test_a_system_that_is_not_supported_is_told_and_stops_no_other_check(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Windows")
    monkeypatch.delattr(os, "sysconf")
    (tmp_path / "catalogue.db").touch()
    found = {f.what: f for f in examine(Settings(home=tmp_path))}
    assert (found["system"].state, found["bank"].state, found["memory"].state) == ("broken", "broken", "note")
    assert "Linux and macOS" in found["system"].found
    assert found["disk"].found
