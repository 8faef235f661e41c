import os
import warnings

import pytest

from synthbank.settings import Settings
from synthbank.workflows.bank import UntestedSystemWarning, open_bank
from synthbank.workflows.maintenance.doctor import examine


@pytest.mark.filterwarnings("ignore::synthbank.workflows.bank.UntestedSystemWarning")
def test_a_system_that_is_not_tested_is_named_and_stops_no_other_check(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Windows")
    monkeypatch.delattr(os, "sysconf")
    (tmp_path / "catalogue.db").touch()
    found = {f.what: f for f in examine(Settings(home=tmp_path))}
    assert (found["system"].state, found["bank"].state, found["memory"].state) == ("note", "ok", "note")
    assert "not tested on Windows; it is on Linux and macOS" in found["system"].found
    assert found["disk"].found


def test_an_untested_system_is_warned_of_where_a_bank_is_opened(tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with open_bank(Settings(home=tmp_path)):
            pass
    monkeypatch.setattr("platform.system", lambda: "Windows")
    with pytest.warns(UntestedSystemWarning, match="not tested on Windows"), open_bank(Settings(home=tmp_path)) as bank:
        assert bank.store.list() == []
