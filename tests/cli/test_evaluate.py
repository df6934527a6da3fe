"""``neuro evaluate``: the numbers of the run again."""

import json


def test_evaluation_repeats_the_result_of_the_run(train_tiny, command):
    trained = json.loads(train_tiny("opzo", "--run-dir", "r", "--json").out)
    result = command("evaluate", "r", "--json")
    assert result.code == 0
    found = json.loads(result.out)
    assert list(found) == list(trained)
    assert found["schema"] == 1
    assert set(found["metrics"]) == {"test_accuracy", "test_loss", "firing_rate", "epochs"}
    assert found["metrics"]["test_accuracy"] == trained["metrics"]["test_accuracy"]
    assert found["firing_rates"] == trained["firing_rates"]
    assert (found["run"], found["method"]) == ("r", "opzo")


def test_a_checkpoint_is_chosen_by_name(train_tiny, command):
    train_tiny("opzo", "--run-dir", "r", "--quiet")
    best = command("evaluate", "r", "--checkpoint", "best")
    assert best.code == 0
    assert "test accuracy" in best.out
    wrong = command("evaluate", "r", "--checkpoint", "bset")
    assert wrong.code == 1
    assert 'Did you mean "best"?' in wrong.err


def test_evaluation_from_events_agrees_with_the_run(train_tiny, command, monkeypatch):
    trained = json.loads(train_tiny("opzo", "--run-dir", "r", "--json").out)
    monkeypatch.setenv("NEURO_KERNELS", "numba")  # at any density
    found = json.loads(command("evaluate", "r", "--events", "--json").out)
    assert abs(found["metrics"]["test_accuracy"] - trained["metrics"]["test_accuracy"]) < 0.02
    for name, rate in trained["firing_rates"].items():
        assert abs(found["firing_rates"][name] - rate) < 1e-3
