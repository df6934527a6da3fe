from dataclasses import replace
from pathlib import Path

import pytest

from neuro.data import DATASETS, LoadRequest, default_data_dir, find_entry, load_dataset
from neuro.errors import DataError, UsageError

EMBEDDED = ("digits", "mnist1d")


STATIC = {"digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "mnist1d"}
RECORDED = {"nmnist", "dvs-gesture", "cifar10-dvs", "shd"}


def test_every_name_is_listed_with_its_kind():
    simulated = {f"events:{name}" for name in STATIC - {"mnist1d"}}
    kinds = {name: entry.kind for name, entry in DATASETS.items()}
    assert kinds == dict.fromkeys(STATIC, "static") | dict.fromkeys(RECORDED | simulated, "events")


def test_images_become_events_by_name_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURO_DATA_DIR", str(tmp_path))
    events = load_dataset("events:digits", timesteps=3, noise_rate_hz=0.0)
    digits = load_dataset("digits")
    assert events.train.inputs.shape[:3] == (1500, 3, 2)
    assert events.timesteps == 3
    assert events.train.targets.equal(digits.train.targets)
    assert (events.train.inputs.flatten(1).sum(1) > 0).all()
    assert digits.source in events.source
    with pytest.raises(UsageError, match=r'"events:digit"\. Did you mean "events:digits"\?'):
        load_dataset("events:digit")
    with pytest.raises(UsageError, match='Unknown data set "events:mnist1d"'):
        load_dataset("events:mnist1d")


@pytest.mark.parametrize("name", DATASETS)
def test_every_entry_says_what_it_is_and_where_it_comes_from(name, tmp_path):
    entry = DATASETS[name]
    assert entry.name == name
    assert entry.description
    assert entry.licence
    assert entry.citation
    for file in entry.files:
        assert file.url.startswith(("http://", "https://"))
        assert file.checksum is None or file.checksum.startswith(("md5:", "sha256:"))
    needs_nothing = name.removeprefix("events:") in EMBEDDED
    assert (entry.files == ()) == needs_nothing
    assert entry.present(tmp_path) == needs_nothing
    assert not entry.present(tmp_path / "absent") or needs_nothing


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].files])
def test_every_missing_set_says_how_to_get_it(name, tmp_path):
    with pytest.raises(DataError) as raised:
        load_dataset(name, data_dir=tmp_path)
    message = str(raised.value)
    assert str(tmp_path) in message
    for file in DATASETS[name].files:
        assert file.name in message
        assert file.url in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in DATASETS if DATASETS[name].files])
def test_switching_downloads_off_holds_for_every_set(name, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURO_DATA_DIR", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="switched off"):
        load_dataset(name, download=False)
    assert not (tmp_path / "cache").exists()


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UsageError, match=r'Unknown data set "minst"\. Did you mean "mnist"\?'):
        load_dataset("minst")
    with pytest.raises(UsageError, match="Known: digits, mnist"):
        find_entry("imagenet")


def test_an_unknown_option_gets_the_nearest():
    with pytest.raises(UsageError, match=r'no option "sample"\. Did you mean "samples"\?'):
        load_dataset("mnist1d", sample=100)
    with pytest.raises(UsageError, match="It has: none"):
        load_dataset("digits", seed=1)


def test_options_are_converted_or_refused_by_type():
    assert len(load_dataset("mnist1d", samples="100").train) == 80
    with pytest.raises(UsageError, match="mnist1d: option samples cannot be 'many'"):
        load_dataset("mnist1d", samples="many")
    with pytest.raises(UsageError, match=r"option seed cannot be 0\.5"):
        load_dataset("mnist1d", seed=0.5)


def test_timesteps_below_one_are_refused():
    with pytest.raises(UsageError, match="timesteps must be at least 1, got 0"):
        load_dataset("digits", timesteps=0)


def test_the_download_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("NEURO_DATA_DIR", str(tmp_path))
    assert default_data_dir() == tmp_path
    monkeypatch.setenv("NEURO_DATA_DIR", "~/data")
    assert default_data_dir() == Path.home() / "data"
    monkeypatch.delenv("NEURO_DATA_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_data_dir().name == "neuro"


def test_files_are_looked_for_in_one_place_only(tmp_path):
    cache, named = tmp_path / "cache", tmp_path / "named"
    named.mkdir()
    request = LoadRequest(data_dir=None, cache_dir=cache)
    assert request.search_root == cache
    assert replace(request, data_dir=named).search_root == named
    with pytest.raises(DataError, match="absent does not exist or is not a folder"):
        _ = replace(request, data_dir=tmp_path / "absent").search_root
