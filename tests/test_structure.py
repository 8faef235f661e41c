"""The shape of the code: who imports whom, what loads torch, how long things are, and whether the documents agree."""

import ast
import importlib
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "synthbank"
FILES = sorted(PACKAGE.rglob("*.py"))
PACKAGES = sorted(
    ".".join(f.parent.relative_to(PACKAGE.parent).parts) for f in FILES if f.name == "__init__.py" and f.stat().st_size
)

FIRST_ROW = {"errors", "registry", "records", "config", "settings", "fingerprint", "memory"}
ROOMS = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.rglob("*.py"))}

# Rooms, what they hold, and which other rooms they import. Every room may import the first row and itself.
# docs/architecture.md shows this table: `python tests/test_structure.py` writes it there.
TABLE: list[tuple[tuple[str, ...], str, set[str]]] = [
    (
        ("errors", "registry", "records", "config", "settings", "fingerprint", "memory"),
        "error tree, registry, frozen records, resolved configuration, settings, hashes and seeds, memory allocator",
        set(),
    ),
    (
        ("storage",),
        "object store, atomic replace, PNG, feature cache, history of a run; `layout.py` alone builds keys",
        set(),
    ),
    (("catalogue",), "tables, migrations, queries that return frozen rows; knows no torch and no files", set()),
    (("data",), "sources, decoding, quality checks, splits, affine expansion, sampler", set()),
    (("models",), "architectures (one file a paper), frozen feature networks, fused weights, weights files", set()),
    (
        ("metrics",),
        "pure functions on features and pixels; `utility/` trains classifiers on images that it is given",
        set(),
    ),
    (
        ("training",),
        "trainers (adversarial, denoising), the loop, guards, state, history, process group",
        {"models", "storage"},
    ),
    (("generation",), "seeds, sampler, gate, writer", {"models", "storage"}),
    (("export",), "formats, cards, sinks", {"catalogue", "storage"}),
    (("reports",), "HTML report, scorecard, plots, grids, the order of scores", {"catalogue", "metrics"}),
    (
        ("workflows",),
        "one function for each step of a user; the only place where these rooms meet",
        {"data", "models", "metrics", "training", "generation", "export", "reports", "catalogue", "storage"},
    ),
    (
        ("scale",),
        "generation and evaluation cut into tasks of a Ray cluster",
        {"workflows", "models", "catalogue", "storage"},
    ),
    (
        ("cloud",),
        "Google Cloud: requests as plain values, checked against the client library's types; Terraform; prices",
        set(),
    ),
    (
        ("api",),
        "the front door in Python: a bank whose methods are the steps of the command line; imports inside methods",
        {"workflows", "catalogue", "data", "export", "reports", "storage"},
    ),
    (
        ("service",),
        "the HTTP API, the studio, worker processes; torch only inside a worker",
        {"workflows", "catalogue.queries", "catalogue.rows", "reports"},
    ),
    (
        ("client",),
        "the Python client of a service; streams images into a training loop",
        {"storage", "workflows", "catalogue.queries"},
    ),
    (
        ("cli",),
        "one file a command group; torch only inside a command",
        {"workflows", "scale", "catalogue.queries", "reports", "service", "cloud"},
    ),
    (("__main__",), "`python -m synthbank`", {"cli"}),
]
MAY_IMPORT = {room: allowed for rooms, _, allowed in TABLE for room in rooms}
NEVER_TORCH = ("catalogue", "storage", "export", "reports", "data", *sorted(FIRST_ROW))
TORCH_ONLY_INSIDE_FUNCTIONS = ("api", "cli", "client", "service")
HEAVY = {"ray", "torch", "lightning_fabric", "safetensors", "tensorboard", "efficientnet_lite_pytorch"}
FIRST_ROW_LIBRARIES = {"numpy", "pydantic", "pydantic_settings", "yaml", *sys.stdlib_module_names}


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported below a node; `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_level(tree: ast.Module) -> ast.Module:
    """The statements that run when the module is imported."""

    class _NoFunctions(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)

    return _NoFunctions().visit(tree)


def _own_imports(path: Path) -> Iterator[tuple[str, str]]:
    """(room or `room.module`, whole name) of every import from synthbank itself."""
    for name in _imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] == "synthbank" and parts[1] != "__version__":
            yield ".".join(parts[1:3]), name


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_its_row_of_the_table_allows(path):
    room = _room(path)
    if room == "__init__":
        at_run_time = _module_level(ast.parse(path.read_text()))
        assert not [name for name in _imports(at_run_time) if name.startswith("synthbank.")]
        return
    assert room in MAY_IMPORT, f"the table has no row for {room}"
    allowed = MAY_IMPORT[room] | FIRST_ROW | {room}
    wrong = [
        name for target, name in _own_imports(path) if target not in allowed and target.split(".")[0] not in allowed
    ]
    assert not wrong, f"{room} may not import {wrong}"


def layer_table() -> str:
    """The table of docs/architecture.md."""
    lines = ["| room | holds | may import, beside the first row |", "|---|---|---|"]
    for rooms, holds, allowed in TABLE:
        imports = " ".join(f"`{name}`" for name in sorted(allowed)) or ("—" if len(rooms) == 1 else _LIBRARIES)
        lines.append(f"| {' '.join(f'`{room}`' for room in rooms)} | {holds} | {imports} |")
    return "\n".join(lines)


_LIBRARIES = "the standard library, numpy, pydantic, yaml"
_TABLE_IN_DOCS = re.compile(r"(?<=<!-- layers -->\n).*?(?=\n<!-- /layers -->)", re.DOTALL)


def write_layer_table() -> None:
    """Write the table into docs/architecture.md."""
    path = ROOT / "docs" / "architecture.md"
    path.write_text(_TABLE_IN_DOCS.sub(lambda _: layer_table(), path.read_text()))


def test_the_table_of_the_architecture_notes_is_this_one():
    shown = _TABLE_IN_DOCS.search((ROOT / "docs" / "architecture.md").read_text())
    assert shown is not None
    assert shown[0] == layer_table(), "run: python tests/test_structure.py"


def test_the_table_allows_nothing_that_no_file_needs():
    used = {room: set() for room in MAY_IMPORT}
    for path in FILES:
        if _room(path) in used:
            used[_room(path)] |= {name for target, _ in _own_imports(path) for name in (target, target.split(".")[0])}
    needless = {room: sorted(allowed - used[room]) for room, allowed in MAY_IMPORT.items() if allowed - used[room]}
    assert not needless


# a sub-room of workflows imports itself, the files below the sub-rooms, and what stands left of it
SUB_ROOMS = ("data", "models", "training", "generation", "evaluation", "delivery", "maintenance")
BELOW_SUB_ROOMS = {"bank", "lease", "devices", "features"}


def _allowed_inside_workflows(part: str) -> set[str]:
    if part in SUB_ROOMS:
        return BELOW_SUB_ROOMS | set(SUB_ROOMS[: SUB_ROOMS.index(part) + 1])
    return BELOW_SUB_ROOMS if part in BELOW_SUB_ROOMS else BELOW_SUB_ROOMS | set(SUB_ROOMS)


@pytest.mark.parametrize("part", [*SUB_ROOMS, *sorted(BELOW_SUB_ROOMS), "run"])
def test_a_sub_room_of_workflows_imports_only_what_stands_below_or_left_of_it(part):
    folder = PACKAGE / "workflows"
    files = sorted((folder / part).rglob("*.py")) if part in SUB_ROOMS else [folder / f"{part}.py"]
    assert all(path.exists() for path in files)
    assert files
    wrong = [
        (path.name, name)
        for path in files
        for target, name in _own_imports(path)
        if target.startswith("workflows.") and target.removeprefix("workflows.") not in _allowed_inside_workflows(part)
    ]
    assert not wrong, f"workflows.{part} may not import {wrong}"


def test_every_part_of_workflows_has_its_place():
    parts = {p.stem for p in (PACKAGE / "workflows").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert parts - {"__init__"} == {*SUB_ROOMS, *BELOW_SUB_ROOMS, "run"}


@pytest.mark.parametrize("module", ["evaluation.requests", "generation.requests", "training.requests"])
def test_a_request_is_built_without_torch(module):
    code = f"import sys, synthbank.workflows.{module}\nprint('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_one_place_alone_runs_a_feature_network():
    callers = [
        path.relative_to(PACKAGE).as_posix()
        for path in FILES
        if _room(path) != "models"  # there `embed` is a layer, or the method itself
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "embed"
    ]
    assert callers == ["workflows/features.py"]


@pytest.mark.parametrize("module", ["models.load", "evaluation.report", "evaluation.evaluate", "generation.selection"])
def test_loading_a_model_a_report_and_an_evaluation_need_nothing_of_training(module):
    code = f"import sys, synthbank.workflows.{module}\nprint(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    barred = ("synthbank.training", "synthbank.workflows.training", "lightning_fabric")
    assert f"synthbank.workflows.{module}" in loaded
    assert not [name for name in loaded if name.startswith(barred)]


def test_every_room_is_a_package_that_says_what_it_holds():
    assert set(MAY_IMPORT) >= ROOMS
    for room in sorted(ROOMS):
        path = PACKAGE / room / "__init__.py"
        assert path.exists(), f"{room} has no __init__.py"
        assert ast.get_docstring(ast.parse(path.read_text())), f"{room} does not say what it holds"


def test_rooms_form_no_cycle():
    graph = {room: set() for room in ROOMS}
    for path in FILES:
        if _room(path) in ROOMS:
            graph[_room(path)] |= {t.split(".")[0] for t, _ in _own_imports(path)} & ROOMS - {_room(path)}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("models") < order.index("training") < order.index("workflows") < order.index("cli")


def _module_imports(tree: ast.AST) -> Iterator[str]:
    """Like `_imports`, without what is imported for type checkers alone: nothing runs it."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imports(node)
        else:
            yield from _module_imports(node)


def _modules() -> dict[str, Path]:
    parts = {f: f.relative_to(PACKAGE.parent).with_suffix("").parts for f in FILES}
    return {".".join(names).removesuffix(".__init__"): file for file, names in parts.items()}


def test_modules_form_no_cycle_even_through_imports_inside_functions():
    modules = _modules()
    graph = {}
    for name, path in modules.items():
        targets = {t if t in modules else t.rpartition(".")[0] for t in _module_imports(ast.parse(path.read_text()))}
        graph[name] = targets & modules.keys() - {name}
    order = list(TopologicalSorter(graph).static_order())  # raises CycleError, which names the modules
    assert order.index("synthbank.service.state") < order.index("synthbank.service.access")


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def _own_privates(tree: ast.AST) -> Iterator[str]:
    """Underscore names that a file defines: functions, classes, variables and attributes of objects."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr


def _walled(path: Path) -> str:
    """The room of a file; of `workflows`, the sub-room."""
    parts = path.relative_to(PACKAGE).parts
    return ".".join(parts[: 2 if parts[0] == "workflows" else 1]).removesuffix(".py")


def test_no_room_calls_an_underscore_name_of_another():
    """A name counts as another room's where that room defines it, inherited or not, and one's own does not."""
    trees = {path: ast.parse(path.read_text()) for path in FILES}
    owners: dict[str, set[str]] = {}
    for path, tree in trees.items():
        for name in filter(_private, _own_privates(tree)):
            owners.setdefault(name, set()).add(_walled(path))
    wrong = []
    for path, tree in trees.items():
        room = _walled(path)
        for node in ast.walk(tree):
            used = [node.attr] if isinstance(node, ast.Attribute) else []
            if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("synthbank."):
                here = f"{node.module}.".startswith(f"synthbank.{room}.")
                assert here or not [a.name for a in node.names if _private(a.name)], f"{path.name}:{node.lineno}"
                assert here or not any(map(_private, node.module.split("."))), f"{path.name}:{node.lineno}"
            wrong += [
                f"{path.relative_to(PACKAGE)}:{node.lineno} {name} of {sorted(owners[name])}"
                for name in used
                if _private(name) and name in owners and room not in owners[name]
            ]
    assert not wrong, wrong


def test_the_first_row_needs_only_the_standard_library_numpy_pydantic_and_yaml():
    for path in FILES:
        if _room(path) in FIRST_ROW:
            found = {name.split(".")[0] for name in _imports(ast.parse(path.read_text()))}
            assert found <= FIRST_ROW_LIBRARIES | {"synthbank"}, path.name


def test_rooms_without_networks_never_name_torch():
    for path in FILES:
        if _room(path) in NEVER_TORCH:
            found = {name.split(".")[0] for name in _imports(ast.parse(path.read_text()))}
            assert not found & HEAVY, path
        elif _room(path) in TORCH_ONLY_INSIDE_FUNCTIONS:
            found = {name.split(".")[0] for name in _imports(_module_level(ast.parse(path.read_text())))}
            assert not found & HEAVY, path


def test_importing_the_rooms_without_networks_loads_no_torch():
    rooms = [r for r in (*NEVER_TORCH, "service", "service.worker", "client") if r.split(".")[0] in ROOMS]
    code = "".join(f"import synthbank.{room}\n" for room in rooms) + "import sys; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


@pytest.mark.parametrize("name", PACKAGES)
def test_what_a_package_exports_is_sorted_and_there(name):
    package = importlib.import_module(name)
    path = Path(package.__file__)
    imported = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ImportFrom)]
    if not imported and not hasattr(package, "__all__"):
        return  # a folder of plug-ins: nothing to export
    # the order of ruff's RUF022: constants, classes, functions
    kinds = sorted(package.__all__, key=lambda n: (0 if n.isupper() else 1 if n[0].isupper() else 2, n))
    assert package.__all__ == kinds
    assert len(set(package.__all__)) == len(package.__all__)
    for public in package.__all__:
        assert getattr(package, public) is not None


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_nothing_is_long(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 600
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno + 1 <= 80, node.name


_HELP = """
import sys
from synthbank.cli import app
sys.argv = ["synthbank", "--help"]
try:
    app.main()
except SystemExit as end:
    print("EXIT", end.code or 0)
print("HEAVY", sorted({"torch", "matplotlib", "sqlalchemy", "skimage", "sklearn"} & set(sys.modules)))
"""


def _help(*parts: str) -> str:
    code = f"import sys; from synthbank.cli import main; sys.argv = {['synthbank', *parts, '--help']!r}; main()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def _listed(text: str) -> list[str]:
    """Commands in the box that Typer draws."""
    box = text.split("Commands", 1)[1] if "Commands" in text else ""
    return re.findall(r"^│ ([a-z][a-z-]*) {2,}", box, re.MULTILINE)


def test_help_loads_no_torch_and_nothing_else_that_is_slow():
    out = subprocess.run([sys.executable, "-c", _HELP], capture_output=True, text=True, check=True).stdout
    assert "EXIT 0" in out
    assert out.splitlines()[-1] == "HEAVY []"


def test_help_takes_less_than_a_second_of_the_processor():
    """Of the processor, as other work on the machine is not its fault."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Usage: synthbank" in _help()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 1.0


def _documents() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def _named_commands(text: str) -> set[tuple[str, ...]]:
    """Commands inside code of a document; `synthbank models ls / show` names two."""
    code = re.findall(r"^```.*?^```|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)
    found = set()
    for words, rest in re.findall(r"\bsynthbank ([a-z]+)((?: (?:/ )?[a-z]+(?= |`|$))*)", "\n".join(code), re.MULTILINE):
        parts = [w for w in rest.replace("/", " ").split() if w]
        found |= {(words, part) for part in parts} or {(words,)}
    return found


def _known_commands() -> set[tuple[str, ...]]:
    top = _listed(_help())
    assert {"run", "train", "generate", "catalogue"} <= set(top)
    groups = ("models", "catalogue", "reader", "keys", "cloud")
    below = {(group, name) for group in groups for name in _listed(_help(group))}
    assert len(below) >= 8
    return {(name,) for name in top} | below


def test_readme_names_every_command_and_documents_name_no_other():
    known = _known_commands()
    named = _named_commands((ROOT / "README.md").read_text())
    missing = {name[0] for name in known} - {name[0] for name in named}
    assert not missing, f"README.md does not name {sorted(missing)}"
    for document in _documents():
        unknown = _named_commands(document.read_text()) - known
        assert not unknown, f"{document.name} names commands that do not exist: {sorted(unknown)}"


def test_links_inside_the_documents_lead_somewhere():
    for document in _documents():
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name} links to {target}"


if __name__ == "__main__":
    write_layer_table()
