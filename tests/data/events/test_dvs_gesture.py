import shutil
import struct
import tarfile

import numpy as np
import pytest

from neuro.data.entry import LoadRequest
from neuro.data.events import dvs_gesture
from neuro.data.events.dvs_gesture import Gesture, read_gestures
from neuro.errors import DataError, UsageError

HEADER = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n"
CSV = "class,startTime_usec,endTime_usec"
# trial -> its gestures, as the csv has them; pixel (x, y) of all its events
TRIALS = {
    "user01_led": ([(3, 1000, 2000), (11, 2000, 3000)], (5, 9)),
    "user01_lab": ([(1, 500, 4500)], (127, 0)),
    "user24_led": ([(7, 1500, 2500), (7, 3000, 3500)], (64, 64)),
}
LISTS = {"train": ["user01_led", "user01_lab"], "test": ["user24_led"]}


def recording(x, y):
    """One event every 10 us from 0 to 4990, ON and OFF in turn, in two packets."""
    packets = []
    for start in (0, 250):
        events = b"".join(
            struct.pack("<II", x << 17 | y << 2 | (i % 2) << 1 | 1, 10 * i)
            for i in range(start, start + 250)
        )
        packets.append(struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 250, 250, 250) + events)
    return HEADER + b"".join(packets)


def write(folder):
    folder.mkdir(parents=True)
    for part, trials in LISTS.items():
        lines = "".join(f"{trial}.aedat\n" for trial in trials)
        (folder / f"trials_to_{part}.txt").write_text(lines + "\n")
    for trial, (gestures, pixel) in TRIALS.items():
        (folder / f"{trial}.aedat").write_bytes(recording(*pixel))
        rows = "".join(f"{label},{start},{end}\n" for label, start, end in gestures)
        (folder / f"{trial}_labels.csv").write_text(f"{CSV}\n{rows}")
    return folder


def request(tmp_path, folder, **options):
    return LoadRequest(folder, tmp_path / "cache", download=False, **options)


@pytest.mark.parametrize("packed", [False, True])
def test_trials_are_cut_by_their_labels(tmp_path, packed):
    folder = write(tmp_path / "root" / "DvsGesture")
    if packed:
        with tarfile.open(tmp_path / "root" / "DvsGesture.tar.gz", "w:gz") as tar:
            tar.add(folder, folder.name)
        shutil.rmtree(folder)
    data = dvs_gesture.load(request(tmp_path, tmp_path / "root", timesteps=5))
    assert (data.name, data.input_shape, data.timesteps) == ("dvs-gesture", (2, 128, 128), 5)
    assert data.train.targets.tolist() == [2, 10, 0]
    assert data.test.targets.tolist() == [6, 6]
    assert data.class_names[2] == "left hand wave"
    # 100 events in 1000 us, half of them ON, all at the trial's pixel
    np.testing.assert_array_equal(data.train.inputs[0, :, :, 9, 5], [[10, 10]] * 5)
    assert data.train.inputs.sum((1, 2, 3, 4)).tolist() == [100, 100, 400]
    assert data.train.inputs[2, :, :, 0, 127].sum() == 400
    assert data.test.inputs.sum((1, 2, 3, 4)).tolist() == [100, 50]


def test_downsampling_sums_squares_of_pixels(tmp_path):
    folder = write(tmp_path / "data")
    data = dvs_gesture.load(request(tmp_path, folder), downsample=4)
    assert (data.timesteps, data.input_shape) == (20, (2, 32, 32))
    assert data.train.inputs[0, :, :, 2, 1].sum() == 100


def test_frames_are_read_back_and_depend_on_the_options(tmp_path, monkeypatch):
    folder = write(tmp_path / "data")
    first = dvs_gesture.load(request(tmp_path, folder), downsample=8)
    monkeypatch.setattr(dvs_gesture, "decode_aedat31", None)
    again = dvs_gesture.load(request(tmp_path, folder), downsample=8)
    np.testing.assert_array_equal(first.test.inputs, again.test.inputs)
    with pytest.raises(TypeError):
        dvs_gesture.load(request(tmp_path, folder), downsample=8, framing="time")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("user24_led.aedat", r"user24_led\.aedat is missing \(1 of 1 trials\)"),
        ("user01_lab_labels.csv", r"user01_lab_labels\.csv is missing"),
        ("trials_to_test.txt", r"trials_to_test\.txt is missing"),
    ],
)
def test_a_missing_file_is_named_with_where_to_get_the_set(tmp_path, name, problem):
    folder = write(tmp_path / "data")
    (folder / name).unlink()
    with pytest.raises(DataError, match=f"{problem}(?s:.*)DvsGesture.tar.gz  from https"):
        dvs_gesture.load(request(tmp_path, folder))
    assert not list((tmp_path / "cache").rglob(".partial-*"))


def test_a_gesture_without_events_is_an_error(tmp_path):
    folder = write(tmp_path / "data")
    (folder / "user24_led_labels.csv").write_text(f"{CSV}\n1,6000,7000\n")
    with pytest.raises(DataError, match=r"user24_led\.aedat: no event from 6000 to 7000 us"):
        dvs_gesture.load(request(tmp_path, folder))


def test_a_truncated_trial_is_named(tmp_path):
    folder = write(tmp_path / "data")
    path = folder / "user01_lab.aedat"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"user01_lab\.aedat: truncated"):
        dvs_gesture.load(request(tmp_path, folder))


def test_nothing_found_explains_that_the_set_is_fetched_by_hand(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no trials_to_train\.txt or DvsGesture\.tar\.gz"):
        dvs_gesture.load(request(tmp_path, tmp_path / "empty"))
    with pytest.raises(DataError, match=r"no direct download.*(?s:.*)ibm\.ent\.box\.com"):
        dvs_gesture.load(LoadRequest(None, tmp_path / "empty"))
    assert not dvs_gesture.present(tmp_path / "empty")
    assert dvs_gesture.present(write(tmp_path / "data"))


@pytest.mark.parametrize("downsample", [0, 3, 256])
def test_a_downsample_that_does_not_divide_is_an_error(tmp_path, downsample):
    with pytest.raises(UsageError, match=f"downsample must divide 128 .* got {downsample}"):
        dvs_gesture.load(request(tmp_path, write(tmp_path / "data")), downsample=downsample)


def test_labels_with_spaces_tabs_and_empty_lines_are_read():
    text = "class\tstartTime_usec\tendTime_usec\r\n1\t80\t90\r\n\r\n 11, 95 ,120\r\n"
    assert read_gestures(text, "a.csv") == [Gesture(0, 80, 90), Gesture(10, 95, 120)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "expected the first line"),
        ("a,b,c\n1,2,3\n", 'got "a,b,c"'),
        (f"{CSV}\n", "lists no gesture"),
        (f"{CSV}\n1,2\n", 'line 2: expected three whole numbers, got "1,2"'),
        (f"{CSV}\n1,2,3\nx,2,3\n", "line 3"),
        (f"{CSV}\n12,2,3\n", r"class in 1\.\.11"),
        (f"{CSV}\n0,2,3\n", r"class in 1\.\.11"),
        (f"{CSV}\n1,3,3\n", "an end after its start"),
    ],
)
def test_wrong_labels_are_an_error_that_names_file_and_line(text, problem):
    with pytest.raises(DataError, match=f"a.csv.*{problem}"):
        read_gestures(text, "a.csv")
