"""Configurations of graph runs: defaults, presets, and what wrong settings are answered with."""

import json

import pytest

from neuro.config import ReasonConfig, load_config, load_reason_config, read_config, resolve_config
from neuro.config.presets import GRAPH_PRESETS, preset_for, preset_names, read_preset
from neuro.errors import ConfigError, UsageError
from neuro.graph import GRAPHS
from neuro.graph.methods import METHODS


@pytest.mark.parametrize("dataset", GRAPHS)
def test_every_graph_has_a_preset_of_its_own_that_suits_every_method(dataset):
    name = preset_for(dataset, GRAPH_PRESETS)
    assert name == dataset, f"neuro/config/presets/graphs has no file for {dataset}"
    for method in METHODS:
        loaded = resolve_config(method, source=name)
        assert (loaded.preset, loaded.notes) == (name, ())
        assert (loaded.config.dataset, loaded.config.method_name) == (dataset, method)


def test_every_preset_belongs_to_a_graph():
    assert preset_names(GRAPH_PRESETS) == sorted(GRAPHS)


def test_umls_is_trained_on_when_nothing_is_named():
    loaded = resolve_config("nbfnet")
    assert (loaded.preset, loaded.config.dataset_name) == ("umls", "umls")
    assert loaded.config.lr == read_preset("umls", GRAPH_PRESETS)["lr"]
    assert ReasonConfig(method={"name": "nbfnet"}).dataset == "umls"


def test_grsnn_plus_is_grsnn_with_its_options_on():
    plain, plus = (
        load_reason_config(name, dataset="wn18rr").method for name in ("grsnn", "grsnn+")
    )
    for option in ("self_connection", "relation_weight", "layer_norm"):
        assert not getattr(plain, option)
        assert getattr(plus, option)
    assert (plain.aggregate, plus.aggregate) == ("sum", "sum")
    assert load_reason_config("grsnn+", dataset="fb15k-237").method.aggregate == "pna"
    assert load_reason_config("grsnn", dataset="fb15k-237").method.linear_scale == 0.1


@pytest.mark.parametrize("dataset", GRAPHS)
def test_nbfnet_has_six_layers_of_pna_everywhere(dataset):
    method = load_reason_config("nbfnet", dataset=dataset).method
    assert (method.layers, method.aggregate, method.hidden) == (6, "pna", 32)
    assert (method.message, method.layer_norm, method.short_cut) == ("mul", True, True)


# Batch, negatives, temperature, dependent, remove_one_hop: github.com/DeepGraphLearning/NBFNet.
PUBLISHED = {
    "wn18rr": (32, 32, 1.0, False, False),
    "fb15k-237": (64, 32, 0.5, True, True),
    **dict.fromkeys((f"wn18rr_v{v}" for v in (1, 2, 3, 4)), (32, 32, 1.0, False, False)),
    **dict.fromkeys((f"fb237_v{v}" for v in (1, 2, 3, 4)), (64, 32, 0.5, True, True)),
    **dict.fromkeys(("cora", "citeseer"), (64, 1, None, False, True)),
}


@pytest.mark.parametrize("dataset", PUBLISHED)
def test_nbfnet_is_trained_as_it_was_published(dataset):
    config = load_reason_config("nbfnet", dataset=dataset)
    assert (
        config.batch_size * config.accumulate,
        config.negatives,
        config.adversarial_temperature,
        config.method.dependent,
        config.remove_one_hop,
    ) == PUBLISHED[dataset]
    assert (config.lr, config.epochs) == (5e-3, 20)


# Batch, lr, negatives, temperature, remove_one_hop of GRSNN's released configurations.
RELEASED = {
    "wn18rr": (32, 2e-3, 256, 1.0, False),
    "fb15k-237": (30, 2e-3, 256, 0.5, True),
    **dict.fromkeys((f"wn18rr_v{v}" for v in (1, 2, 3, 4)), (32, 5e-3, 50, 1.0, False)),
    **dict.fromkeys((f"fb237_v{v}" for v in (1, 2, 3, 4)), (32, 5e-3, 50, 0.5, False)),
    **dict.fromkeys(("cora", "citeseer"), (32, 2e-3, 1, None, True)),
}


@pytest.mark.parametrize("dataset", RELEASED)
def test_grsnn_is_trained_as_its_authors_did(dataset):
    for method in ("grsnn", "grsnn+"):
        config = load_reason_config(method, dataset=dataset)
        assert (
            config.batch_size * config.accumulate,
            config.lr,
            config.negatives,
            config.adversarial_temperature,
            config.remove_one_hop,
        ) == RELEASED[dataset]
        assert config.method.dependent == (RELEASED[dataset][2] != 1)
        assert config.epochs == 20


def test_a_graph_of_ones_own_has_no_preset_and_a_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = resolve_config("nbfnet", flags={"graph": "mine"})
    config = loaded.config
    assert (config.dataset, config.graph) == (None, str(tmp_path / "mine"))
    assert (config.dataset_name, loaded.preset) == ("mine", None)
    assert "no preset belongs to data set mine" in loaded.notes[0]


def test_what_is_named_later_takes_the_place_of_the_other(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(load_reason_config("nbfnet", dataset="nations").to_json()))
    own = load_reason_config(source=file, graph="mine")
    assert (own.dataset, own.dataset_name) == (None, "mine")
    file.write_text(json.dumps(own.to_json()))
    assert load_reason_config(source=file, dataset="umls").graph is None


def test_a_run_configuration_is_a_source_that_gives_itself(tmp_path):
    config = load_reason_config("nbfnet", dataset="kinship", lr=0.25, method={"layers": 2})
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config.to_json()))
    again = load_reason_config(source=file)
    assert again == config == read_config(config.to_json())
    assert again.fingerprint() == config.fingerprint()
    assert next(iter(config.to_json())) == "method"


def test_a_table_for_a_method_lies_over_its_own_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("lr = 0.5\n[for.nbfnet]\nlr = 0.25\nmethod = { message = 'add' }\n")
    config = load_reason_config("nbfnet", source=file)
    assert (config.lr, config.method.message) == (0.25, "add")


@pytest.mark.parametrize(
    ("method", "arguments", "parts"),
    [
        ("nbfnets", {}, ['"nbfnets"', 'Did you mean "nbfnet"?', "opzo"]),
        ("nbfnet", {"flags": {"dataset": "umsl"}}, ['"umsl"', 'Did you mean "umls"?', "--graph"]),
        ("nbfnet", {"assignments": ["method.layer=2"]}, ['"method.layer"', '"method.layers"']),
        ("nbfnet", {"assignments": ["method.layers=0"]}, ["method.layers", "at least 1", "0"]),
        ("grsnn", {"assignments": ["method.tau=0"]}, ["method.tau", "above 0", "0"]),
        ("grsnn", {"assignments": ["method.timesteps=0"]}, ["method.timesteps", "at least 1"]),
        (
            "grsnn",
            {"assignments": ["method.delay_bond=3"]},
            ['"method.delay_bond"', '"method.delay_bound"'],
        ),
        (
            "grsnn",
            {"assignments": ["method.delay_gradient=exact", "method.concat_hidden=true"]},
            ["exact", "concat_hidden", '"released"'],
        ),
        ("grsnn+", {"assignments": ["method.delay_gradient=exact"]}, ["exact", "layer_norm"]),
        (
            "grsnn",
            {"assignments": ["method.boundary_query=false", "method.concat_hidden=true"]},
            ["method.concat_hidden needs method.boundary_query"],
        ),
        ("grsnn", {"assignments": ["method.m_regularization=-1"]}, ["m_regularization", "least 0"]),
        ("nbfnet", {"assignments": ["method.hidden=0"]}, ["method.hidden", "at least 1"]),
        ("nbfnet", {"assignments": ["method.aggregate=men"]}, ["method.aggregate = 'men'", "mean"]),
        ("nbfnet", {"assignments": ["negative=2"]}, ['"negative"', 'Did you mean "negatives"?']),
        ("nbfnet", {"assignments": ["negatives=0"]}, ["negatives = 0", "--set negatives=0"]),
        ("nbfnet", {"assignments": ["adversarial_temperature=0"]}, ["greater than 0"]),
        ("nbfnet", {"flags": {"timesteps": 3}}, ['"timesteps"', "the command line"]),
        ("opzo", {"flags": {"graph": "x"}}, ['"graph"', "the command line"]),
        ("nbfnet", {"flags": {"graph": "x", "dataset": "umls"}}, ["not both", "umls", "'x'"]),
        ("nbfnet", {"source": "digits"}, ['no preset "digits"', "umls"]),
        ("nbfnet", {"source": "umsl"}, ['"umsl"', 'Did you mean "umls"?']),
        ("nbfnet", {"assignments": ["method=3"]}, ["Unknown method of graph reasoning", "3"]),
        (None, {"assignments": ["method=nbfnett"]}, ['"nbfnett"', 'Did you mean "nbfnet"?']),
    ],
)
def test_wrong_settings_name_the_key_its_source_and_the_nearest_right_one(method, arguments, parts):
    with pytest.raises(UsageError) as caught:
        resolve_config(method, **arguments)
    for part in parts:
        assert part in str(caught.value)


def test_a_table_for_a_rule_in_the_file_of_a_method_is_refused(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[for.opzo]\nlr = 1\n")
    with pytest.raises(ConfigError, match=r"for\.opzo.*no method of graph reasoning"):
        load_reason_config("nbfnet", source=file)


def test_each_kind_of_run_is_loaded_by_its_own_function():
    with pytest.raises(ConfigError, match='"nbfnet" is no learning rule'):
        load_config("nbfnet")
    with pytest.raises(ConfigError, match='"opzo" is no method of graph reasoning'):
        load_reason_config("opzo")
