import ast
import re
import subprocess

import pytest

from tests.http.wire import ROOT

SECRET = re.compile(r"(?i)(token|secret|hash|password|member)s?$")
REGISTRY = re.compile(r"https?://[^\s\"'<>)]*(pypi|simple/|packages/|artifact|nexus|devpi|mirror)")


def modules(*folders):
    return [
        pytest.param(path, id=str(path.relative_to(ROOT)))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        if isinstance(node, ast.Attribute):
            yield node.attr
        if isinstance(node, ast.alias):
            yield node.name


def literals(tree):
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]


@pytest.mark.parametrize("path", modules("ledger", "projections"))
def test_no_money_is_a_float(path):
    tree = parsed(path)
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}

    assert "float" not in called
    assert path.name == "money.py" or not set(names(tree)) & {"Decimal", "decimal"}


@pytest.mark.parametrize("path", modules("ledger/operator", "projections"))
def test_no_rule_reckons_with_a_fraction(path):
    tree = parsed(path)

    assert not [value for value in literals(tree) if isinstance(value, float)]
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Div)]


def compared(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and not all(
            isinstance(op, ast.Is | ast.IsNot) for op in node.ops
        ):
            for side in (node.left, *node.comparators):
                if isinstance(side, ast.Name | ast.Attribute):
                    yield side.id if isinstance(side, ast.Name) else side.attr


@pytest.mark.parametrize("path", [p for p in modules("api") if p.id != "api/sound.py"])
def test_no_secret_is_compared_with_an_equals_sign(path):
    assert not {name for name in compared(parsed(path)) if SECRET.search(name)}


@pytest.mark.parametrize("path", modules("ledger", "projections", "api", "scripts"))
def test_every_module_says_what_it_is_for(path):
    assert ast.get_docstring(parsed(path))


@pytest.mark.parametrize("path", modules("tests"))
def test_no_test_has_a_docstring(path):
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node) is None, node.name
    if path.name.startswith("test_"):
        assert ast.get_docstring(tree) is None


@pytest.mark.parametrize("path", modules("tests"))
def test_no_test_sleeps_but_to_poll(path):
    slept = [
        node
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
    ]

    assert len(slept) <= (path.name == "server.py")


@pytest.mark.parametrize("path", modules("ledger", "projections", "api"))
def test_nothing_is_printed_and_no_file_is_too_long_to_read(path):
    assert "print" not in set(names(parsed(path)))
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 600


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("this is no checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_no_file_names_a_package_registry():
    found = {
        path.relative_to(ROOT): match.group()
        for path in tracked()
        if (match := REGISTRY.search(path.read_text(encoding="utf-8", errors="replace")))
    }

    assert found == {}


def test_no_book_no_secret_and_no_cache_is_tracked():
    wrong = re.compile(
        r"(\.db(-wal|-shm)?|\.pyc|\.env|roundbook\.toml)$|(^|/)(\.venv|\.hypothesis)/"
    )

    assert [path for path in tracked() if wrong.search(str(path.relative_to(ROOT)))] == []
