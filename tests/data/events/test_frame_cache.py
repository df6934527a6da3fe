import numpy as np
import pytest
import torch

from neuro.data.events.frame_cache import FrameCache
from neuro.errors import DataError

TARGETS = np.array([2, 0, 1], np.int64)
SHAPE = (3, 4, 2, 5, 5)


def cache(folder, **key):
    return FrameCache(folder / "decoded", "set-train", {"timesteps": 4, **key})


def fill(frames):
    frames[...] = np.arange(frames.size).reshape(frames.shape) % 251


def test_stored_frames_come_back_mapped_and_equal(tmp_path):
    assert cache(tmp_path).load() is None
    stored = cache(tmp_path).store(SHAPE, TARGETS, fill)
    loaded = cache(tmp_path).load()
    expected = np.zeros(SHAPE, np.uint8)
    fill(expected)
    for split in (stored, loaded):
        np.testing.assert_array_equal(split.inputs.numpy(), expected)
        assert split.inputs.dtype == torch.uint8
        assert split.targets.tolist() == [2, 0, 1]
    assert [path.name for path in (tmp_path / "decoded").iterdir()] == [cache(tmp_path).path.name]


def test_writing_to_loaded_frames_leaves_the_file_alone(tmp_path):
    split = cache(tmp_path).store(SHAPE, TARGETS, fill)
    before = split.inputs.clone()
    split.inputs.zero_()
    np.testing.assert_array_equal(cache(tmp_path).load().inputs, before)


def test_other_parameters_are_other_frames(tmp_path):
    cache(tmp_path).store(SHAPE, TARGETS, fill)
    assert cache(tmp_path, size=48).load() is None
    assert cache(tmp_path, size=48).path != cache(tmp_path, size=49).path


@pytest.mark.parametrize("error", [DataError("broken recording"), KeyboardInterrupt()])
def test_nothing_is_kept_when_making_frames_fails(tmp_path, error):
    def fail(frames):
        frames[0] = 1
        raise error

    with pytest.raises(type(error)):
        cache(tmp_path).store(SHAPE, TARGETS, fail)
    assert list((tmp_path / "decoded").iterdir()) == []
    assert cache(tmp_path).load() is None


@pytest.mark.parametrize("damaged", ["frames.npy", "targets.npy"])
def test_damaged_frames_are_made_again_and_it_is_said(tmp_path, capsys, damaged):
    cache(tmp_path).store(SHAPE, TARGETS, fill)
    path = cache(tmp_path).path / damaged
    path.write_bytes(path.read_bytes()[:140])
    assert cache(tmp_path).load() is None
    assert f"{cache(tmp_path).path} is damaged" in capsys.readouterr().err
    assert len(cache(tmp_path).store(SHAPE, TARGETS, fill)) == 3
    assert cache(tmp_path).load() is not None


def test_the_first_of_two_makers_wins_and_both_get_frames(tmp_path):
    def fill_while_another_finishes(frames):
        cache(tmp_path).store(SHAPE, TARGETS, fill)
        frames[...] = 7

    split = cache(tmp_path).store(SHAPE, TARGETS, fill_while_another_finishes)
    assert split.inputs.max() == 250
    assert len(list((tmp_path / "decoded").iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "decoded").write_text("a file")
    with pytest.raises(DataError, match=r"Cannot store frames in .* 600 bytes.*NEURO_DATA_DIR"):
        cache(tmp_path).store(SHAPE, TARGETS, fill)
