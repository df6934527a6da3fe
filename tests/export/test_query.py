"""One question of a trained GRSNN as an export."""

import json

import pytest

from neuro.config import load_reason_config
from neuro.errors import NeuroError, UsageError
from neuro.export.folder import read_export
from neuro.export.make import ExportOptions
from neuro.export.query import export_query
from neuro.export.verify import verify
from neuro.training import train

QUIET = {"note": lambda text: None}
OPTIONS = ExportOptions(calibrate=2, accuracy=2)


def trained(path, method):
    config = load_reason_config(
        method, dataset="nations", epochs=1, batches_per_epoch=2, tensorboard=False, plots=False
    )
    train(config, run_dir=path)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("runs") / "grsnn", "grsnn")


def test_a_question_is_placed_proven_and_answered(run, tmp_path):
    report = export_query(run, tmp_path / "q", OPTIONS, head="usa", relation="embassy", **QUIET)
    export = read_export(tmp_path / "q")
    assert export.manifest["query"] == {"head": "usa", "relation": "embassy", "inverse": False}
    assert export.graph().metadata["head"] == 12 == export.samples().targets[0]
    proof = verify(export, engines=["reference"], **QUIET)
    assert (proof.samples, proof.mismatches) == (1, 0)
    nodes = next(layer for layer in proof.layers if layer.name == "nodes")
    assert nodes.neurons == 14 * 32
    assert nodes.spikes > 0
    assert report.placement is not None
    assert report.record["answers"][0] == "usa -embassy-> ?"
    found = report.record["comparison"]
    assert found["facts"] == 2
    assert 0.9 < found["agreement"] <= 1
    assert json.loads((tmp_path / "q" / "placement.json").read_text())["chips"] == 1


@pytest.mark.parametrize(
    ("options", "names", "message"),
    [
        (OPTIONS, {"head": "usaa", "relation": "embassy"}, 'Did you mean "usa"'),
        (OPTIONS, {"head": "usa", "relation": "embasy"}, 'Did you mean "embassy"'),
        (ExportOptions(to="nir"), {"head": "usa", "relation": "embassy"}, "is none"),
        (ExportOptions(finetune=1), {"head": "usa", "relation": "embassy"}, "for classifiers"),
        (ExportOptions(weight_bits=3), {"head": "usa", "relation": "embassy"}, "for classifiers"),
    ],
)
def test_what_cannot_be_asked_is_named_and_leaves_nothing(run, tmp_path, options, names, message):
    with pytest.raises(NeuroError, match=message):
        export_query(run, tmp_path / "q", options, **names, **QUIET)
    assert list(tmp_path.iterdir()) == []


def test_a_method_without_spikes_is_refused(tmp_path):
    path = trained(tmp_path / "run", "nbfnet")
    with pytest.raises(UsageError, match="has no spikes"):
        export_query(path, tmp_path / "q", OPTIONS, head="usa", relation="embassy", **QUIET)
    assert not (tmp_path / "q").exists()
