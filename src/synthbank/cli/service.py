"""`serve` and `keys`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from synthbank.cli.options import BankOption, DeviceOption, JsonOption
from synthbank.cli.output import at_bank, opened, say, say_json, say_table, talk

if TYPE_CHECKING:
    from synthbank.service.settings import ServiceSettings
    from synthbank.workflows.maintenance.keys import NewKey


def register(app: typer.Typer) -> None:
    """Add `serve` and the group `keys`."""
    app.command()(serve)
    keys = typer.Typer(help="API keys of the service.", no_args_is_help=True)
    keys.command("create")(keys_create)
    keys.command("ls")(keys_ls)
    keys.command("rotate")(keys_rotate)
    keys.command("revoke")(keys_revoke)
    app.add_typer(keys, name="keys")


def serve(
    host: Annotated[str | None, typer.Option(help="Address; beyond loopback API keys are required.")] = None,
    port: Annotated[int | None, typer.Option(help="Port (default: AIP_HTTP_PORT, else 8000).")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes; 0: none, this server only answers.")] = None,
    show_originals: Annotated[
        bool, typer.Option("--show-originals", help="Serve originals to callers with the scope read.")
    ] = False,
    no_batching: Annotated[bool, typer.Option("--no-batching", help="One request a forward pass.")] = False,
    device: DeviceOption = "cpu",
    bank_path: BankOption = None,
) -> None:
    """Serve an HTTP API and the studio. Ctrl-C finishes the current forward pass and returns the jobs to the queue."""
    import uvicorn

    from synthbank.service import create_app
    from synthbank.service.settings import resolve

    settings = resolve(
        home=bank_path,
        host=host,
        port=port,
        workers=workers,
        device=device,
        show_originals=show_originals or None,  # a switch that is off leaves the environment's choice
        batching=False if no_batching else None,
    )
    require_a_key(settings)
    talk(f"SynthBank on http://{settings.host}:{settings.port}  (bank: {settings.home})")
    app = create_app(settings)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=20,
        limit_concurrency=1000,
        server_header=False,
    )


def require_a_key(settings: ServiceSettings) -> None:
    """Raise `StateError` for a service beyond this machine while no key exists: nobody could use it."""
    from synthbank.errors import StateError
    from synthbank.workflows.bank import open_bank
    from synthbank.workflows.maintenance.keys import has_valid_key

    if not settings.keys_required or settings.vertex.active:
        return
    with open_bank(settings) as bank:
        if not has_valid_key(bank):
            raise StateError(
                "The service would be open to the network without an API key",
                got=settings.host,
                allowed="127.0.0.1, or any address once there is a key",
                next_step=at_bank("make one first: synthbank keys create NAME --scope admin", settings.home),
            )


def keys_create(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    scope: Annotated[str, typer.Option(help="read, generate or admin.")] = "generate",
    days: Annotated[int | None, typer.Option(help="Days until it ends (default: no end).")] = None,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Make a key and show it; it cannot be shown again."""
    from synthbank.workflows.maintenance.keys import create_key

    with opened(bank_path) as bank:
        _show_new(create_key(bank, name, scope=scope, days=days), json)


def keys_ls(bank_path: BankOption = None, json: JsonOption = False) -> None:
    """List keys, ended ones included."""
    from synthbank.catalogue import queries

    with opened(bank_path, create=False) as bank, bank.catalogue.session() as session:
        rows = queries.list_keys(session=session)
    if json:
        say_json([_without_hash(row) for row in rows])
        return
    shown = [(k.id, k.name, ", ".join(k.scopes), k.created_at, k.expires_at, k.revoked_at) for k in rows]
    say_table("API keys", ("id", "name", "scope", "made", "ends", "revoked"), shown)


def keys_rotate(
    key_id: Annotated[str, typer.Argument(help="Id of the key (synthbank keys ls).")],
    overlap: Annotated[float, typer.Option(help="Hours for which the old key stays valid.")] = 24.0,
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """Make a new key in place of an old one."""
    from synthbank.workflows.maintenance.keys import rotate_key

    with opened(bank_path, create=False) as bank:
        _show_new(rotate_key(bank, key_id, overlap_hours=overlap), json)


def keys_revoke(
    key_id: Annotated[str, typer.Argument(help="Id of the key.")],
    bank_path: BankOption = None,
    json: JsonOption = False,
) -> None:
    """End a key at once."""
    from synthbank.workflows.maintenance.keys import revoke_key

    with opened(bank_path, create=False) as bank:
        row = revoke_key(bank, key_id)
    if json:
        say_json(_without_hash(row))
        return
    say(f"key {row.id} ({row.name}) is revoked")


def _show_new(new: NewKey, json: bool) -> None:
    if json:
        say_json({**_without_hash(new.row), "token": new.token})
        return
    say(new.token)
    talk(f"key {new.row.id} ({new.row.name}); it cannot be shown again")


def _without_hash(row: object) -> dict[str, object]:
    """The fields of a key that may be shown."""
    names = ("id", "name", "scopes", "created_at", "expires_at", "revoked_at", "replaced_by")
    return {name: getattr(row, name) for name in names}
