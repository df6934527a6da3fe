"""MNIST and Fashion-MNIST: 28 x 28 grey images in IDX files, plain or gzip."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from neuro.data.dataset import Dataset, Split
from neuro.data.download import fetch
from neuro.data.entry import DatasetEntry, LoadRequest, RemoteFile
from neuro.data.idx import read_idx
from neuro.data.locate import describe_size, existing_folders, first_file, not_found
from neuro.errors import DataError


@dataclass(frozen=True)
class IdxFile:
    """One of the four files: its published gzip form and what it unpacks to."""

    remote: RemoteFile
    shape: tuple[int, ...]
    unpacked_md5: str | None

    @property
    def stem(self) -> str:
        return self.remote.name.removesuffix(".gz")

    @property
    def accepted_names(self) -> tuple[str, ...]:
        """Plain before gzip; some mirrors write ``.idx3`` for ``-idx3``."""
        dotted = self.stem.replace("-idx", ".idx")
        return (self.stem, f"{self.stem}.gz", dotted, f"{dotted}.gz")

    @property
    def remedy(self) -> str:
        return (
            f"Replace it by {self.remote.url} ({describe_size(self.remote.size)}, "
            f"{self.remote.checksum}), or delete it from the download folder to get it again."
        )


@dataclass(frozen=True)
class IdxSet:
    """A data set of four IDX files.

    Args:
        name: registry name; also the folder that downloads go to.
        folder: the folder other tools keep it in (``<folder>/raw``).
        class_names: ten names.
        licence: of the data.
        files: training images and labels, test images and labels.
    """

    name: str
    folder: str
    class_names: tuple[str, ...]
    licence: str
    files: tuple[IdxFile, IdxFile, IdxFile, IdxFile]

    @property
    def layouts(self) -> tuple[str, ...]:
        """Folders to look in, the more specific first.

        The file names of the two sets are the same, so a folder that bears the set's name goes
        before one that does not.
        """
        own = (f"{self.folder}/raw", self.folder)
        return (*(f"{self.name}/{layout}" for layout in (*own, "raw", "")), *own, "raw", "")


def find_files(root: Path, idx_set: IdxSet) -> dict[str, Path]:
    """Return stem -> path from the first folder of ``layouts`` that holds any of the files."""
    for folder in existing_folders(root, idx_set.layouts):
        found = {
            file.stem: path
            for file in idx_set.files
            if (path := first_file(folder, file.accepted_names)) is not None
        }
        if found:
            return found
    return {}


def load(request: LoadRequest, *, idx_set: IdxSet) -> Dataset:
    """Load 60,000 training and 10,000 test images ``[N, 1, 28, 28]``, uint8, scale 255.

    Looks for the files in the folders of :attr:`IdxSet.layouts`; the first folder that holds
    any of them must hold all. Every file is checked against the md5 of the published one.

    Raises:
        DataError: a file is missing, damaged, or not the published one.
    """
    found = find_files(request.search_root, idx_set)
    missing = [file.remote for file in idx_set.files if file.stem not in found]
    if missing and request.data_dir is None and request.download:
        folder = next(iter(found.values())).parent if found else request.cache_dir / idx_set.name
        fetch(idx_set.name, idx_set.licence, missing, folder)
        found = find_files(request.search_root, idx_set)
    elif missing and found:
        folder = next(iter(found.values())).parent
        names = ", ".join(file.name for file in missing)
        raise not_found(idx_set.name, request, f"{names} (others are in {folder})", missing)
    elif missing:
        raise not_found(idx_set.name, request, "IDX files", missing)
    arrays = [
        read_idx(found[file.stem], file.shape, remedy=file.remedy, md5=file.unpacked_md5)
        for file in idx_set.files
    ]
    train_images, train_labels, test_images, test_labels = arrays
    for file, labels in zip(idx_set.files[1::2], (train_labels, test_labels), strict=True):
        if labels.max() >= len(idx_set.class_names):
            raise DataError(
                f"{found[file.stem]}: label {labels.max()} is outside "
                f"0..{len(idx_set.class_names) - 1}. {file.remedy}"
            )
    return Dataset(
        name=idx_set.name,
        kind="static",
        class_names=idx_set.class_names,
        train=_split(train_images, train_labels),
        test=_split(test_images, test_labels),
        scale=255.0,
        source=f"IDX files in {found[idx_set.files[0].stem].parent}",
    )


def _split(images: np.ndarray, labels: np.ndarray) -> Split:
    return Split(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels.astype(np.int64)))


def present(root: Path, *, idx_set: IdxSet) -> bool:
    """Whether all four files are found under ``root``."""
    return len(find_files(root, idx_set)) == len(idx_set.files)


def _entry(idx_set: IdxSet, *, description: str, citation: str) -> DatasetEntry:
    def load_set(request: LoadRequest) -> Dataset:
        return load(request, idx_set=idx_set)

    return DatasetEntry(
        name=idx_set.name,
        kind="static",
        description=description,
        licence=idx_set.licence,
        citation=citation,
        files=tuple(file.remote for file in idx_set.files),
        load=load_set,
        present=partial(present, idx_set=idx_set),
    )


def _files(
    base_url: str, published: tuple[tuple[int, str, str], ...]
) -> tuple[IdxFile, IdxFile, IdxFile, IdxFile]:
    """Name the four files; ``published`` gives size and md5 of the gzip, md5 unpacked."""
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = (
        ("train-images-idx3-ubyte.gz", (60000, 28, 28)),
        ("train-labels-idx1-ubyte.gz", (60000,)),
        ("t10k-images-idx3-ubyte.gz", (10000, 28, 28)),
        ("t10k-labels-idx1-ubyte.gz", (10000,)),
    )
    first, second, third, fourth = (
        IdxFile(RemoteFile(name, base_url + name, size, f"md5:{md5}"), shape, unpacked_md5)
        for (name, shape), (size, md5, unpacked_md5) in zip(shapes, published, strict=True)
    )
    return (first, second, third, fourth)


MNIST = IdxSet(
    name="mnist",
    folder="MNIST",
    class_names=tuple(str(digit) for digit in range(10)),
    licence="CC BY-SA 3.0",
    files=_files(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        (
            (9912422, "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
            (28881, "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
            (1648877, "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
            (4542, "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
        ),
    ),
)

FASHION_MNIST = IdxSet(
    name="fashion-mnist",
    folder="FashionMNIST",
    class_names=(
        "t-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
    licence="MIT",
    files=_files(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        (
            (26421880, "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "f4a8712d7a061bf5bd6d2ca38dc4d50a"),
            (29515, "25c81989df183df01b3e8a0aad5dffbe", "9018921c3c673c538a1fc5bad174d6f9"),
            (4422102, "bef4ecab320f06d8554ea6380940ec79", "8181f5470baa50b63fa0f6fddb340f0a"),
            (5148, "bb300cfdad3c16e7a12a480ee83cd310", "15d484375f8d13e6eb1aabb0c3f46965"),
        ),
    ),
)

MNIST_ENTRY = _entry(
    MNIST,
    description="28 x 28 hand-written digits, 60,000 training and 10,000 test images",
    citation="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document "
    "recognition, Proc. IEEE 86, 1998",
)
FASHION_MNIST_ENTRY = _entry(
    FASHION_MNIST,
    description="28 x 28 pictures of clothes, 60,000 training and 10,000 test images",
    citation="Xiao, Rasul, Vollgraf: Fashion-MNIST, arXiv 1708.07747, 2017",
)
