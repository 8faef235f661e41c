"""`keys`, and when `serve` refuses to start."""


def test_a_key_lives_from_create_to_revoke(cli):
    made = cli("keys", "create", "robot", "--scope", "read", "--days", 30)
    assert made.code == 0
    assert made.out.startswith("sb_")
    assert "cannot be shown again" in made.err
    (row,) = cli("keys", "ls", "--json").json
    assert (row["name"], row["scopes"], row["revoked_at"]) == ("robot", ["read"], None)
    assert "secret" not in str(row)
    new = cli("keys", "rotate", row["id"], "--overlap", 1, "--json").json
    assert new["token"].startswith(f"sb_{new['id']}_")
    assert "revoked" in cli("keys", "revoke", new["id"]).out
    rows = {key["id"]: key for key in cli("keys", "ls", "--json").json}
    assert rows[row["id"]]["replaced_by"] == new["id"]
    assert rows[new["id"]]["revoked_at"]
    assert "robot" in cli("keys", "ls").out
    wrong = cli("keys", "revoke", "none")
    assert (wrong.code, "API key" in wrong.err) == (2, True)
    assert cli("keys", "create", "robot", "--scope", "root").code == 2


def test_a_service_without_a_key_stays_on_this_machine(cli, monkeypatch):
    refused = cli("serve", "--host", "0.0.0.0", "--port", 0)
    assert refused.code == 2
    assert "without an API key" in refused.err
    assert "synthbank keys create" in refused.err
    assert cli("serve", "--port", 99999).code == 2
    monkeypatch.setenv("SYNTHBANK_SECRET", "changeme")
    assert "SECRET" in cli("serve").err
