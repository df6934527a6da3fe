import numpy as np
import torch
from sklearn.datasets import load_digits

from neuro.data import load_dataset
from neuro.data.digits import stratified_test_indices


def test_digits_are_all_of_scikit_learn_in_two_disjoint_splits():
    digits = load_dataset("digits")
    bunch = load_digits()
    together = torch.cat([digits.train.inputs, digits.test.inputs]).flatten(1)
    ours = sorted(map(bytes, together.numpy()))
    theirs = sorted(map(bytes, bunch.data.astype(np.uint8)))
    assert ours == theirs
    assert digits.input_shape == (1, 8, 8)
    assert (len(digits.train), len(digits.test)) == (1500, 297)
    assert digits.scale == 16
    assert digits.train.inputs.dtype == torch.uint8
    assert int(digits.train.inputs.max()) == 16


def test_the_split_is_fixed_and_stratified():
    digits = load_dataset("digits")
    assert digits.train.targets.bincount().tolist() == [
        149, 152, 148, 153, 151, 152, 151, 149, 145, 150
    ]  # fmt: skip
    assert digits.test.targets.bincount().tolist() == [29, 30, 29, 30, 30, 30, 30, 30, 29, 30]
    # Guards the results that are published for this split.
    assert int(digits.train.inputs.sum()) == 469792
    assert digits.test.targets[:10].tolist() == [3, 7, 3, 9, 0, 7, 0, 8, 0, 3]


def test_remainders_go_to_the_classes_that_lose_most():
    # Shares of 4 out of 10: 2.0, 1.2, 0.8 -> 2, 1, 0 and one more for the last class.
    targets = np.array([0] * 5 + [1] * 3 + [2] * 2)
    chosen = stratified_test_indices(targets, 4)
    assert np.bincount(targets[chosen]).tolist() == [2, 1, 1]
    assert np.unique(chosen).tolist() == chosen.tolist()
