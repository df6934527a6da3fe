"""Every example runs, at its smallest, and prints what it promises."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALLEST: dict[str, tuple[int, ...]] = {
    "01_train_opzo.py": (1,),
    "02_compare_rules.py": (1,),
    "03_feedback_alignment.py": (41,),
    "04_own_neuron.py": (),
}


def output_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(EXAMPLES / name))["main"](*SMALLEST[name])
    return capsys.readouterr().out


def test_every_example_has_a_case() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SMALLEST)


def test_training_prints_an_accuracy_above_chance(capsys: pytest.CaptureFixture[str]) -> None:
    printed = output_of("01_train_opzo.py", capsys)
    accuracy = re.search(r"last epoch: ([\d.]+)%", printed)
    assert accuracy is not None
    assert float(accuracy[1]) > 50


def test_rules_are_compared_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output_of("02_compare_rules.py", capsys).splitlines()
    assert [line.split()[0] for line in lines] == ["bptt", "ottt", "dfa", "dkp", "zo", "opzo"]


def test_feedback_turns_towards_the_exact_error(capsys: pytest.CaptureFixture[str]) -> None:
    printed = output_of("03_feedback_alignment.py", capsys)
    cosines = [float(value) for value in re.findall(r"lif2 ([\d.]+)", printed)]
    assert cosines[-1] > 0.8


def test_stronger_input_makes_the_own_neuron_fire_more(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line for line in output_of("04_own_neuron.py", capsys).splitlines() if "I =" in line]
    counts = [row.count("|") for row in rows]
    assert counts == sorted(counts)
    assert counts[0] == 0 < counts[-1]
