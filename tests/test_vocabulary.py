"""No word that docs/glossary.md replaced stands in an identifier, a file name or a code span of the docs."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "src" / "synthbank").rglob("*.py"))
EXEMPT_DOCS = {"glossary.md", "recipes.md"}  # recipes.md: until it is taken apart

NOT_USED = (
    "judge",
    "judges",
    "judged",
    "judging",
    "judgement",
    "judgements",
    "told",
    "strand",
    "strands",
    "errand",
    "errands",
    "lend",
    "lent",
    "settled",
    "peers",
    "audience",
    "trio",
    "planted",
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def words_of(identifier: str) -> set[str]:
    """Lower-case words of a name in snake case, camel case or capitals.

    >>> sorted(words_of("_TrioFunction2 judged_at"))
    ['at', 'function', 'judged', 'trio']
    """
    return {word.lower() for word in _WORD.findall(identifier)}


def _names(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every name, those inside f-strings included."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string
        elif token.type == tokenize.STRING and token.string[:2].lower().strip("r\"'") == "f":  # before Python 3.12
            for expression in re.findall(r"(?<!\{)\{([^{}]+)\}", token.string):
                for name in re.findall(r"[A-Za-z_]\w*", re.sub(r"\"[^\"]*\"|'[^']*'", "", expression)):
                    yield token.start[0], name


def test_an_identifier_is_split_into_its_words():
    assert words_of("judge_folds") == {"judge", "folds"}
    assert words_of("_ThreeWayGram") == {"three", "way", "gram"}
    assert words_of("JUDGE") & set(NOT_USED)
    assert words_of("TrioFunction") & set(NOT_USED)
    assert not words_of("calendar_blended_bold") & set(NOT_USED)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_identifier_uses_a_word_that_the_glossary_replaced(path):
    wrong = sorted({f"{line}: {name}" for line, name in _names(path) if words_of(name) & set(NOT_USED)})
    assert not wrong, f"see docs/glossary.md: {wrong}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_an_open_bank_is_called_bank(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.withitem) or not isinstance(node.context_expr, ast.Call):
            continue
        opens = ast.unparse(node.context_expr.func) in ("opened", "open_bank")
        if opens and node.optional_vars is not None:
            assert ast.unparse(node.optional_vars) == "bank"
    assert not re.search(r"\bfound: (?:\w+\.)?Bank\b|\bfound\.(?:catalogue|store|settings)\b", path.read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_named_by_such_a_word(path):
    assert not words_of(path.stem) & set(NOT_USED)


def _documents() -> list[Path]:
    docs = [p for p in sorted((ROOT / "docs").rglob("*.md")) if p.name not in EXEMPT_DOCS]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *docs]


@pytest.mark.parametrize("path", _documents(), ids=lambda p: p.name)
def test_no_code_span_of_the_docs_uses_such_a_word(path):
    spans = re.findall(r"^```.*?^```|`[^`\n]+`", path.read_text(), re.MULTILINE | re.DOTALL)
    wrong = sorted({span for span in spans if words_of(span) & set(NOT_USED)})
    assert not wrong, f"see docs/glossary.md: {wrong}"


def test_the_glossary_names_the_words_of_the_list():
    text = (ROOT / "docs" / "glossary.md").read_text().lower()
    stems = (
        "judge",
        "judging",
        "told",
        "strand",
        "errand",
        "lend",
        "lent",
        "settled",
        "peers",
        "audience",
        "trio",
        "planted",
    )
    assert [word for word in stems if word not in text] == []
