"""The documentation keeps up with the code: examples run, registries are named, links lead on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from neuro.cli import app
from neuro.data import DATASETS
from neuro.graph import GRAPHS
from neuro.graph.methods import METHODS
from neuro.learning import RULES
from neuro.models import MODELS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_python_of_the_readme_runs(number, tmp_path):
    command = [sys.executable, "-c", BLOCKS[number]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    accuracy = float(re.search(r"test.accuracy\D*([\d.]+)", done.stdout)[1])
    assert accuracy > 0.9


def test_the_first_example_of_the_readme_is_short():
    assert len([line for line in BLOCKS[0].splitlines() if line]) <= 16


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_a_row_in_the_readme(name):
    assert f"| `{name}` |" in README


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_named_in_the_readme(name):
    assert f"`{name}`" in README


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_graph_reasoning_is_named_in_the_readme(name):
    assert f"`{name}`" in README


@pytest.mark.parametrize("name", [*DATASETS, *GRAPHS])
def test_every_data_set_is_named_in_the_readme(name):
    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower())

    written = plain(README.replace("CIFAR-10 and -100", "CIFAR-10 CIFAR-100"))
    assert plain(re.sub(r"^events:|[-_][sv]\d$", "", name)) in written


def test_every_command_is_in_the_readme_and_every_one_there_exists():
    named = set(re.findall(r"^neuro ([a-z]+)", README, flags=re.MULTILINE))
    assert named == {name for name in app if not name.startswith("-")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_every_make_target_in_the_documents_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, flags=re.MULTILINE))
    assert named - targets == set()
    assert {"demo", "test", "check", "bench"} <= named
