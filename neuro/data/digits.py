"""The 8 x 8 digits that come with scikit-learn: no download, seconds to train on."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from neuro.data.dataset import Dataset, Split
from neuro.data.entry import DatasetEntry, LoadRequest

TEST_SIZE = 297


def stratified_test_indices(
    targets: npt.NDArray[np.int64], test_size: int
) -> npt.NDArray[np.int64]:
    """Choose ``test_size`` samples with the class shares of the whole, always the same ones.

    A class of ``n`` samples gives ``floor(n * test_size / N)``; what is missing to ``test_size``
    goes one by one to the largest remainders (the lower class first among equals). Within a
    class the samples are the first ones of a fixed permutation.

    Args:
        targets: classes ``[N]``.
        test_size: 0 < test_size < N.

    Returns:
        Sorted indices ``[test_size]``.
    """
    # RandomState, unlike Generator, promises the same stream in every numpy release.
    random = np.random.RandomState(0)
    classes, counts = np.unique(targets, return_counts=True)
    shares, remainders = np.divmod(counts * test_size, len(targets))
    largest_first = np.argsort(-remainders, kind="stable")
    shares[largest_first[: test_size - shares.sum()]] += 1
    chosen = [
        random.permutation(np.flatnonzero(targets == label))[:share]
        for label, share in zip(classes, shares, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def load(request: LoadRequest) -> Dataset:
    """Load 1,500 training and 297 test images ``[N, 1, 8, 8]``, grey levels 0..16.

    The split is stratified and fixed (:func:`stratified_test_indices`); nothing is read from
    ``request``. Training samples keep the order in which scikit-learn has them.
    """
    # Importing scikit-learn takes seconds: only those who load this set should wait for it.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(bunch.images.astype(np.uint8)).unsqueeze(1)
    targets = bunch.target.astype(np.int64)
    in_test = torch.zeros(len(targets), dtype=torch.bool)
    in_test[torch.from_numpy(stratified_test_indices(targets, TEST_SIZE))] = True
    labels = torch.from_numpy(targets)
    return Dataset(
        name="digits",
        kind="static",
        class_names=tuple(str(digit) for digit in range(10)),
        train=Split(images[~in_test], labels[~in_test]),
        test=Split(images[in_test], labels[in_test]),
        scale=16.0,
        source="embedded in scikit-learn",
    )


def _present(root: Path) -> bool:
    return True


ENTRY = DatasetEntry(
    name="digits",
    kind="static",
    description="8 x 8 hand-written digits, 1,500 training and 297 test images, embedded",
    licence="CC BY 4.0",
    citation="Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998",
    load=load,
    present=_present,
)
