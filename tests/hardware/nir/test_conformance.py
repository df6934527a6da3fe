"""What real readers make of files, and that the command survives whatever they do."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from neuro.errors import UsageError
from neuro.hardware.nir import interpret, to_nir, write_nir
from neuro.hardware.nir.conformance import (
    READERS,
    Job,
    Row,
    conformance,
    expected_outputs,
    main,
    run_reader,
    table,
)
from neuro.hardware.nir.features import features, markdown, matrix
from neuro.layers import AvgPool2d, Conv2d, Flatten, Linear, Network, Node, Spiking
from neuro.neurons import IF, LIF, CubaLIF

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "nir.md"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_matrix_in_the_documentation_is_what_the_readers_do(readers_python):
    shown = markdown(matrix(readers_python))
    assert shown in DOCUMENT.read_text(encoding="utf-8"), shown


def dense(first, second, gain=3.0):
    torch.manual_seed(0)
    network = Network(
        [
            Node("a", Linear(8, 6)),
            Node("one", Spiking(first)),
            Node("b", Linear(6, 4)),
            Node("two", Spiking(second)),
        ],
        (8,),
    )
    return _stronger(network, gain)


def _stronger(network, gain):
    with torch.no_grad():
        for synapse in network.synapse_nodes.values():
            synapse.weight.mul_(gain)
    return network


def maps():
    torch.manual_seed(0)
    network = Network(
        [
            Node("conv", Conv2d(2, 3, 3, stride=2, padding=1)),
            Node("one", Spiking(LIF(decay=0.8, reset_mode="hard"), scale=2.74)),
            Node("pool", AvgPool2d(2)),
            Node("conv2", Conv2d(3, 3, 3, padding=1)),
            Node("two", Spiking(LIF(decay=0.9, reset_mode="hard"))),
            Node("flatten", Flatten()),
            Node("read", Linear(12, 4)),
            Node("three", Spiking(LIF(decay=0.5, reset_mode="hard"))),
        ],
        (2, 8, 8),
    )
    return _stronger(network, 3.0)


NETWORKS = {
    "LIF": lambda: dense(LIF(decay=0.9, reset_mode="hard"), LIF(decay=0.8, reset_mode="hard")),
    "LIF, strict": lambda: dense(
        LIF(decay=0.5, reset_mode="hard", inclusive=False), LIF(reset_mode="hard")
    ),
    "CubaLIF": lambda: dense(
        CubaLIF(current_decay=0.7, voltage_decay=0.8, reset_mode="hard"), CubaLIF(reset_mode="hard")
    ),
    "IF": lambda: dense(IF(reset_mode="hard"), IF(reset_mode="hard")),
    "maps": maps,
    "soft": lambda: dense(LIF(decay=0.9), LIF(decay=0.8), gain=1.0),
}
TAKEN = {
    "norse": ("LIF", "LIF, strict", "CubaLIF", "IF", "maps"),
    "snntorch": ("LIF", "LIF, strict", "CubaLIF", "maps"),
    "spikingjelly": ("LIF", "LIF, strict", "CubaLIF", "IF", "maps"),
    "sinabs": ("soft",),
}


@pytest.mark.parametrize("reader", READERS)
def test_networks_written_for_a_reader_run_there_exactly(reader, readers_python, tmp_path):
    """Spike for spike what the network itself does, not only what this package reads."""
    jobs = []
    for name in TAKEN[reader]:
        network = NETWORKS[name]()
        path = tmp_path / f"{name}.nir"
        graph = to_nir(network, target=reader, dt=1e-3)
        write_nir(graph, path)
        random = np.random.default_rng(3)
        samples = (random.random((2, 60, *network.input_shape)) < 0.3).astype(np.float32)
        with torch.no_grad():
            expected, _ = network.sequence(torch.tensor(samples).transpose(0, 1))
        expected = expected.transpose(0, 1).double().numpy()
        assert expected.sum() > 20
        np.testing.assert_array_equal(expected_outputs(interpret(path), samples), expected)
        jobs.append(Job(path, samples, expected, float(graph.metadata["dt"])))
    rows = run_reader(reader, jobs, readers_python, timeout=200)
    found = dict(zip(TAKEN[reader], rows, strict=True))
    assert {name: row.verdict for name, row in found.items()} == dict.fromkeys(found, "exact"), rows


def test_a_missing_reader_is_not_a_failure(tmp_path):
    """The interpreter of the tests may lack them all, and this one lacks even numpy."""
    write_nir(features()["LIF, r = 1"].graph, tmp_path / "a.nir")
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    rows = conformance(tmp_path / "a.nir", readers=["norse", "sinabs"], python=str(bare))
    assert [(row.reader, row.verdict) for row in rows] == [
        ("norse", "not installed"),
        ("sinabs", "not installed"),
    ]


def fake(tmp_path, script):
    """An interpreter that does something else."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("script", "verdict", "detail"),
    [
        ("echo 'Segmentation fault' >&2; exit 139", "refused", "Segmentation fault"),
        ("exit 3", "refused", "exit code 3"),
        ("exec sleep 30", "timed out", "after 0.5 s"),
        ("""echo 'report {"version": "1", "error": "E: so"}'""", "refused", "E: so"),
        ("""echo 'report {"version": "1", "missing": "samna"}'""", "not installed", "needs samna"),
    ],
)
def test_whatever_a_reader_does_is_a_row(script, verdict, detail, tmp_path):
    write_nir(features()["LIF, r = 1"].graph, tmp_path / "a.nir")
    (row,) = conformance(
        tmp_path / "a.nir", readers=["norse"], python=fake(tmp_path, script), timeout=0.5
    )
    assert (row.verdict, row.detail) == (verdict, detail)


def test_outputs_are_compared(tmp_path):
    """Readers that say nothing, too much, or almost the same."""
    path = tmp_path / "a.nir"
    feature = features()["LIF, r = 1"]
    write_nir(feature.graph, path)
    expected = expected_outputs(interpret(path), feature.samples)
    copy = (
        f'exec {sys.executable} -c "import json,sys,numpy as n; j=json.load(open(sys.argv[4]))[0];'
        f" n.save(j['outputs'], n.load('{tmp_path}/made.npy'));"
        ' print(\'report {\\"version\\": \\"1\\"}\')" "$@"'
    )
    python = fake(tmp_path, copy)

    def row(made):
        np.save(tmp_path / "made.npy", made)
        (found,) = conformance(path, feature.samples, readers=["norse"], python=python)
        return found

    assert row(expected) == Row("norse", "1", "exact", 1.0, "51 for 51 spikes")
    one = expected.copy()
    one.flat[0] = 1 - one.flat[0]
    assert row(one).verdict == "differs"
    assert row(one).agreement == pytest.approx(1 - 1 / expected.size)
    wide = row(np.zeros((*expected.shape, 2)))
    assert (wide.verdict, wide.agreement) == ("differs", 0.0)
    np.save(tmp_path / "made.npy", np.zeros_like(expected))
    (silent,) = conformance(path, np.zeros_like(feature.samples), readers=["norse"], python=python)
    assert (silent.verdict, silent.agreement) == ("exact", 1.0)
    assert "silent, which shows little" in silent.detail


def test_wrong_use_is_refused(tmp_path):
    path = tmp_path / "a.nir"
    write_nir(features()["LIF, r = 1"].graph, path)
    with pytest.raises(UsageError, match=r"no NIR reader 'nors'.*Did you mean .norse"):
        conformance(path, readers=["nors"])
    with pytest.raises(UsageError, match=r"samples are \(N, T, \(8,\)\), got \(4, 8\)"):
        conformance(path, np.zeros((4, 8)))
    with pytest.raises(UsageError, match="cannot run /nowhere"):
        conformance(path, readers=["norse"], python="/nowhere")


def test_the_command_prints_a_table(tmp_path, capsys):
    path = tmp_path / "a.nir"
    write_nir(features()["LIF, r = 1"].graph, path)
    python = fake(tmp_path, """echo 'report {"version": "1.1", "error": "E: so"}'""")
    assert main([str(path), "--python", python, "--reader", "norse"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["reader", "version", "result", "agreement"]
    assert lines[1].split() == ["norse", "1.1", "refused", "E:", "so"]
    assert main([str(path), "--python", python, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["reader"] for row in rows] == list(READERS)
    assert main([str(tmp_path / "b.nir")]) == 1
    assert "b.nir: cannot be read as NIR" in capsys.readouterr().err


def test_a_table_is_aligned():
    rows = [Row("norse", "1.1.0", "differs", 0.855, "51 for 42 spikes")]
    assert table(rows).splitlines()[1] == "norse   1.1.0    differs  85.5 %     51 for 42 spikes"
