"""Reports from Python: of a network, of any module; and files that are there whole or not."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from neuro.energy.reporting.report import ENDINGS, Report, report
from neuro.errors import DataError, UsageError
from neuro.layers import Linear, Network, Node, Spiking
from neuro.neurons import LIF
from tests.energy.records import record

T, B = 3, 4


def network() -> Network:
    """Four inputs, three neurons, two outputs; every weight so large that one spike fires."""
    first, second = Linear(4, 3, bias=False), Linear(3, 2, bias=False)
    with torch.no_grad():
        first.weight.fill_(5.0)
        second.weight.fill_(1.0)
    nodes = [Node("first", first), Node("lif", Spiking(LIF())), Node("out", second)]
    return Network(nodes, (4,)).eval()


def spikes() -> list[torch.Tensor]:
    """One spike in each sample and step."""
    x = torch.zeros(B, 4)
    x[:, 1] = 1
    return [x.clone() for _ in range(T)]


def test_a_network_is_counted_priced_and_judged():
    targets = torch.zeros(B, dtype=torch.int64)
    loader = [(spikes(), targets), (torch.stack(spikes()), targets)]
    found = report(network(), loader, ["horowitz45-fp32"], signals="binary").to_json()
    assert (found["what"]["samples"], found["what"]["timesteps"]) == (2 * B, T)
    layers = {layer["name"]: layer for layer in found["layers"]}
    assert layers["first"]["counts"]["synaptic_additions"] == T * 3  # one input, three targets
    assert layers["first"]["rate"] == pytest.approx(1 / 4)
    assert layers["lif"]["counts"]["spikes"] == T * 3
    assert layers["lif"]["rate"] == 1
    assert layers["out"]["counts"]["synaptic_additions"] == T * 3 * 2
    assert found["parameters"] == 12 + 6
    assert found["accuracy"] == 1.0  # both outputs are equal, and the first one is the target
    (profile,) = found["profiles"]
    assert profile["estimate"] is True
    assert profile["kind"] == "simulated"
    additions = sum(layer["counts"].get("synaptic_additions", 0) for layer in found["layers"])
    assert profile["total_pj"]["value"] >= 0.9 * additions
    assert profile["spread_pj"] == 0


def test_without_targets_there_is_no_accuracy():
    found = report(network(), [(spikes(), None)], ["horowitz45-fp32"], signals="binary")
    assert found.to_json()["accuracy"] is None
    assert "accuracy" not in found.text().splitlines()[2]


def test_any_module_is_counted_and_left_in_its_mode():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    model[0].eval()
    loader = [(torch.randn(B, 4), torch.ones(B, dtype=torch.int64))]
    found = report(model, loader, ["horowitz45-int8"], name="mine").to_json()
    assert found["what"]["run"] == "mine"
    assert found["totals"]["macs"] == 4 * 3 + 3 * 2
    assert found["parameters"] == 4 * 3 + 3 + 3 * 2 + 2
    assert [module.training for module in model] == [False, True, True]


def test_other_networks_stand_beside_it():
    twin = nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3), nn.ReLU())
    model = nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3), nn.ReLU())
    inputs = torch.randn(B, 1, 4)
    found = report(model, [(inputs, None)], ["horowitz45-fp32"], baselines={"twin": twin})
    (baseline,) = found.to_json()["baselines"]
    (priced,) = baseline["profiles"]
    assert priced["ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}  # constants are shared
    assert priced["total_pj"] == found.to_json()["profiles"][0]["total_pj"]


def test_what_is_declared_is_checked():
    inputs = [torch.rand(B, 4) for _ in range(T)]
    with pytest.raises(UsageError, match="declared binary"):
        report(network(), [(inputs, None)], ["horowitz45-fp32"], signals="binary")


def test_wrong_use_is_told():
    with pytest.raises(UsageError, match="no batch"):
        report(network(), [], ["horowitz45-fp32"])
    with pytest.raises(UsageError, match="at least one hardware profile"):
        report(network(), [(spikes(), None)], [])
    with pytest.raises(UsageError, match="Two hardware profiles are called horowitz45-fp32"):
        report(network(), [(spikes(), None)], ["horowitz45-fp32", "horowitz45-fp32"])
    with pytest.raises(UsageError, match="allow mixed kinds"):
        report(network(), [(spikes(), None)], ["horowitz45-fp32", "truenorth"])


CLASSES = torch.zeros(B, dtype=torch.int64)


@pytest.mark.parametrize(
    ("loader", "said"),
    [
        ([torch.rand(B, 4)], r"batches \(inputs, targets\).*got a Tensor"),
        ([(spikes(),)], r"got \(list\)"),
        ([(spikes(), [0, 1])], r"got \(list, list\)"),
        ([(spikes(), CLASSES[:2])], r"shape \[4\], got \[2\]"),
        ([(spikes(), torch.eye(4))], r"shape \[4\], got \[4, 4\]"),
        ([(spikes(), None), (spikes()[:2], None)], "as many time steps, got 3 and 2"),
        ([([], None)], "at least one time step"),
    ],
)
def test_a_wrong_loader_is_told(loader, said):
    with pytest.raises(UsageError, match=said):
        report(network(), loader, ["horowitz45-fp32"], signals="binary")


def test_what_gives_no_logits_is_not_judged():
    whole = nn.Flatten(0)  # neither samples nor classes
    loader = [(torch.rand(B, 4), CLASSES)]
    with pytest.raises(UsageError, match=r"logits of shape \[4, classes\], got \[16\]"):
        report(whole, loader, ["horowitz45-fp32"])
    assert report(whole, [(loader[0][0], None)]).to_json()["accuracy"] is None


def test_where_nothing_has_a_price_there_is_no_band():
    found = report(nn.Linear(4, 2), [(torch.rand(B, 4), None)], ["loihi1"])
    assert found.to_json()["profiles"][0]["kinds"] == []
    for form in ("text", "md", "latex"):
        written = found.write(form)
        assert "nothing of it is priced" in written
        assert "0 J to 0 J" not in written
    assert '<p data-figure="band">5 to 95 %: -</p>' in found.html()


def test_one_profile_may_stand_without_a_list():
    loader = [(torch.rand(B, 4), None)]
    found = report(nn.Linear(4, 2), loader, "horowitz45-fp32").to_json()
    assert [each["name"] for each in found["profiles"]] == ["horowitz45-fp32"]


def test_a_profile_without_bounds_looks_no_surer_than_others():
    found = report(nn.Linear(4, 2), [(torch.rand(B, 4), None)], ["cpu-i7-4960x"])
    assert "no bounds published" in found.text()
    assert "no bounds published" in found.html()


def test_an_unknown_layer_is_named():
    class Odd(nn.Module):
        def forward(self, x):
            return torch.special.bessel_j0(x)

    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(Odd()))
    with pytest.raises(UsageError, match=r"special_bessel_j0 in 1\.0"):
        report(model, [(torch.randn(B, 4), None)])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_report_is_saved_by_the_ending_of_its_file(tmp_path, ending):
    file = tmp_path / f"x.{ending}"
    Report.from_json(record()).save(file)
    assert file.read_text("utf-8") == Report(record()).write(ENDINGS[ending])
    assert list(tmp_path.iterdir()) == [file]


def test_a_report_that_cannot_be_saved_leaves_nothing(tmp_path, monkeypatch):
    whole = Report.from_json(record())
    with pytest.raises(UsageError, match=r"written as \.txt"):
        whole.save(tmp_path / "x.pdf")
    with pytest.raises(UsageError, match="there is no folder"):
        whole.save(tmp_path / "none" / "x.md")
    (tmp_path / "x.md").write_text("before")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        whole.save(tmp_path / "x.md")
    assert (tmp_path / "x.md").read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["x.md"]


def test_a_report_can_be_read_again():
    whole = Report.from_json(json.loads(Report(record()).write("json")))
    assert whole == Report(record())
    with pytest.raises(DataError, match="schema 2"):
        Report.from_json({**record(), "schema": 2})
