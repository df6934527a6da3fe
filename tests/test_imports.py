"""Who may import whom: the table of docs/architecture.md, enforced over the syntax trees."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

import neuro

ROOT = Path(__file__).resolve().parent.parent

# What each part of neuro may import of the others. Everyone may import errors.
ALLOWED = {
    "kernels": set(),
    "hardware": set(),
    "hardware.nir": {"hardware", "layers", "neurons", "surrogate"},
    "energy": {"hardware", "learning", "models", "layers", "neurons", "surrogate", "kernels"}
    | {"choices"},
    "errors": set(),
    "choices": set(),
    "surrogate": {"kernels"},
    "encoding": set(),
    "neurons": {"surrogate", "kernels"},
    "layers": {"neurons", "surrogate", "kernels"},
    "models": {"layers", "neurons", "surrogate", "choices"},
    "learning": {"models", "layers", "neurons", "surrogate", "kernels", "choices"},
    "data": set(),
    "graph": {"data", "layers", "surrogate", "kernels", "choices", "energy"},
    "config": {"models", "learning", "graph", "data", "encoding"},
    "training": {"config", "learning", "models", "layers", "graph", "data", "encoding"},
    "export": {"training", "data", "graph", "layers", "neurons", "kernels", "surrogate"}
    | {"hardware", "hardware.nir"},
    "reports": {"training", "config", "data", "graph", "export", "models", "learning", "layers"}
    | {"energy", "hardware", "encoding"},
    "cli": {"config", "training", "learning", "models", "graph", "data", "kernels", "hardware"}
    | {"hardware.nir", "export", "energy", "reports"},
}

# Packages that not everyone has, and the modules that may import each; they load when chosen.
# Numba writes its code with llvmlite and requires it.
# What runs in Lava's own Python imports Lava and what it brings.
OPTIONAL: dict[str, str] = {
    "triton": "neuro.kernels.*.gpu",
    "llvmlite": "neuro.kernels.*",
    "nir": "neuro.hardware.nir*",
    "pynvml": "neuro.energy.pricing.measured",
    "norse": "neuro.hardware.nir.readers",
    "sinabs": "neuro.hardware.nir.readers",
    "snntorch": "neuro.hardware.nir.readers",
    "spikingjelly": "neuro.hardware.nir.readers",
    "lava": "neuro.hardware.lava.*",
    "scipy": "neuro.hardware.lava.runner",
}

# What makes `neuro --help` slow; the commands import it inside their functions.
HEAVY = {"torch", "numpy", "numba", "matplotlib", "sklearn", "h5py", "scipy", "networkx"}


def sources() -> Iterator[tuple[str, Path]]:
    """Yield (dotted name, file) of every module; the two links are followed once."""
    for path in sorted((ROOT / "neuro").rglob("*.py")):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path
    for linked in ("kernels", "hardware"):
        for path in sorted((ROOT / linked).rglob("*.py")):
            yield "neuro." + ".".join(path.relative_to(ROOT).with_suffix("").parts), path


def modules() -> list[tuple[str, Path]]:
    return list(dict(sources()).items())


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything a syntax tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name, not relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import_time(tree: ast.Module) -> ast.Module:
    """Return the tree without function bodies and without what only type checkers read."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    return ast.fix_missing_locations(Strip().visit(tree))


def forbidden(part: str, tree: ast.AST) -> set[str]:
    """Return the parts of neuro that ``part`` imports against the law."""
    used = {part_of(name) for name in imported(tree) if name.startswith("neuro.")}
    parts_known = used & ALLOWED.keys()
    may = ALLOWED[part] | {part} | (set() if part == "kernels" else {"errors"})
    return parts_known - may


def part_of(module: str) -> str | None:
    """Return the part a module belongs to; ``None`` for neuro/__init__ and __main__."""
    inner = ".".join(module.split(".")[1:3])
    if inner in ALLOWED:
        return inner
    name = module.split(".")[1]
    return None if name.startswith("__") else name


def test_every_part_has_a_row_and_every_row_a_part():
    assert {part_of(module) for module, _ in modules()} - {None} == ALLOWED.keys()


def test_the_law_has_no_cycle():
    placed: set[str] = set()
    while len(placed) < len(ALLOWED):
        free = {part for part, may in ALLOWED.items() if part not in placed and may <= placed}
        assert free, f"a cycle among {sorted(ALLOWED.keys() - placed)}"
        placed |= free


@pytest.mark.parametrize("module", [m for m, _ in modules() if part_of(m)])
def test_a_module_imports_only_what_its_part_may(module):
    tree = ast.parse(dict(modules())[module].read_text(encoding="utf-8"))
    part = part_of(module)
    assert forbidden(part, tree) == set(), f"{module} may import {sorted(ALLOWED[part])}"


@pytest.mark.parametrize(
    ("part", "code", "found"),
    [
        ("kernels", "from neuro.errors import NeuroError", {"errors"}),
        ("models", "def f():\n    import neuro.learning.rule", {"learning"}),
        ("training", "from neuro import cli", {"cli"}),
        ("learning", "from neuro.models import MODELS", set()),
        ("hardware", "from neuro.hardware.nir import to_nir", {"hardware.nir"}),
        ("hardware", "from neuro.layers import Network", {"layers"}),
        ("hardware.nir", "from neuro.layers import Network", set()),
    ],
)
def test_the_check_itself_sees_breaches(part, code, found):
    assert forbidden(part, ast.parse(code)) == found


def distributions() -> set[str]:
    """Return the import names of what pyproject.toml requires."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    different = {"scikit_learn": "sklearn", "pillow": "PIL"}
    names = {line.split(">")[0].replace("-", "_") for line in project["dependencies"]}
    return {different.get(name, name) for name in names}


@pytest.mark.parametrize("module", [m for m, _ in modules()])
def test_a_module_imports_only_what_is_required_or_its_own_to_import(module):
    path = dict(modules())[module]
    roots = {name.split(".")[0] for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
    outside = roots - set(sys.stdlib_module_names) - distributions() - {"neuro"}
    assert {name for name in outside if not fnmatchcase(module, OPTIONAL.get(name, ""))} == set()


def test_every_requirement_is_used():
    used = set()
    for _, path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used |= {name.split(".")[0] for name in imported(tree)}
    # torch.utils.tensorboard is what imports it
    assert distributions() - used - {"tensorboard"} == set()


@pytest.mark.parametrize("module", [m for m, _ in modules() if part_of(m) == "cli"])
def test_a_command_imports_heavy_packages_only_when_run(module):
    tree = at_import_time(ast.parse(dict(modules())[module].read_text(encoding="utf-8")))
    roots = {name.split(".")[0] for name in imported(tree)}
    assert roots & HEAVY == set()


def loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and return the top-level packages it imported."""
    script = f"{code}\nimport sys\nprint(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import neuro", "import neuro.cli"])
def test_the_package_and_its_command_line_import_nothing_heavy(code):
    assert loaded_after(code) & HEAVY == set()


def test_every_public_name_is_there():
    for name in neuro.__all__:
        assert getattr(neuro, name) is not None
        assert name in dir(neuro)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        neuro.trian  # noqa: B018
