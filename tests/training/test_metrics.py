"""metrics.jsonl and its mirror in TensorBoard."""

import json

import pytest

from neuro.errors import CheckpointError
from neuro.training.metrics import MetricsLog, read_metrics


def test_records_come_back_by_kind(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl", None)
    log.record("step", 1, {"epoch": 1, "train_loss": 0.5})
    log.record("epoch", 2, {"epoch": 1, "firing_rates": {"lif1": 0.25}})
    log.close()
    assert read_metrics(tmp_path / "m.jsonl", "epoch") == [
        {"kind": "epoch", "step": 2, "epoch": 1, "firing_rates": {"lif1": 0.25}}
    ]


def test_what_followed_the_checkpoint_is_forgotten(tmp_path):
    file = tmp_path / "m.jsonl"
    log = MetricsLog(file, None)
    log.record("step", 1, {"train_loss": 1.0})
    offset = log.offset()
    log.record("step", 2, {"train_loss": 2.0})
    log.close()
    with file.open("a") as cut:
        cut.write('{"kind": "step", "st')
    log = MetricsLog(file, None, offset=offset)
    log.record("step", 2, {"train_loss": 3.0})
    log.close()
    assert [json.loads(line)["train_loss"] for line in file.read_text().splitlines()] == [1.0, 3.0]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path):
    file = tmp_path / "m.jsonl"
    file.write_text('{"kind": "epoch", "step": 1}\n{"kind": "ep')
    assert read_metrics(file, "epoch") == [{"kind": "epoch", "step": 1}]
    assert read_metrics(tmp_path / "gone", "epoch") == []


def test_lines_that_were_removed_are_noticed(tmp_path):
    file = tmp_path / "m.jsonl"
    file.write_text("{}\n")
    with pytest.raises(CheckpointError, match="holds 3 bytes"):
        MetricsLog(file, None, offset=100)


def read_events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, round(event.value, 4)) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_the_same_numbers_and_hides_what_was_done_twice(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl", tmp_path / "tb")
    for step in (1, 2, 3):
        log.record("epoch", step, {"epoch": step, "loss": step / 10, "rates": {"lif1": 0.5}})
    log.close()
    log = MetricsLog(tmp_path / "m.jsonl", tmp_path / "tb", purge_step=3)
    log.record("epoch", 3, {"epoch": 3, "loss": 0.9, "rates": {"lif1": 0.5}})
    log.close()
    assert read_events(tmp_path / "tb") == {
        "epoch/loss": [(1, 0.1), (2, 0.2), (3, 0.9)],
        "epoch/rates/lif1": [(1, 0.5), (2, 0.5), (3, 0.5)],
    }
