"""CIFAR-10 and CIFAR-100: 32 x 32 colour images, from Python batches or an image folder.

Where several forms lie in one place, the first of these is read: unpacked Python batches, the
published archive of them, an image folder, an archive of one. ``Dataset.source`` names it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal

import torch

from neuro.data.dataset import Dataset, Split
from neuro.data.decoded import Arrays, decoded_once
from neuro.data.download import fetch
from neuro.data.entry import DatasetEntry, LoadRequest, RemoteFile
from neuro.data.image_folder import (
    ImageTree,
    decode_archive,
    decode_folder,
    file_fingerprint,
    folder_fingerprint,
    is_image_folder,
)
from neuro.data.locate import existing_folders, first_file, not_found
from neuro.data.python_batches import BatchSet, decode_batch_archive, decode_batch_folder

Source = Literal["auto", "batches", "images"]


@dataclass(frozen=True)
class CifarSet:
    """One of the two sets.

    Args:
        name: registry name; also the folder that downloads go to.
        archive: the published archive of Python batches.
        batch_folder: the folder it unpacks to.
        batches: the files in it.
        class_names: in label order, which is alphabetical.
        mean, std: per channel, of the training images divided by 255.
        image_folders: names of folders that may hold ``train/<class>``.
        image_archives: names of tar archives of such a folder, without ``.tar.*``.
    """

    name: str
    archive: RemoteFile
    batch_folder: str
    batches: BatchSet
    class_names: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    image_folders: tuple[str, ...]
    image_archives: tuple[str, ...]

    @property
    def tree(self) -> ImageTree:
        classes = len(self.class_names)
        return ImageTree(
            class_names=self.class_names,
            per_class={split: count // classes for split, count in self.batches.counts.items()},
            size=(32, 32),
            remedy="Unpack or fetch the image set again, or use the published batches: "
            f"{self.archive.url}.",
        )

    @property
    def layouts(self) -> tuple[str, ...]:
        return (self.name, *self.image_folders, "")


Form = Literal["batch folder", "batch archive", "image folder", "image archive"]


@dataclass(frozen=True)
class Found:
    """A form of the data set on disk."""

    form: Form
    path: Path


def find(root: Path, cifar: CifarSet, source: Source = "auto") -> Found | None:
    """Return the first form found under ``root``, in the order of the module's docstring."""
    forms = _batch_forms(root, cifar) if source != "images" else iter(())
    if source != "batches":
        forms = chain(forms, _image_forms(root, cifar))
    return next(forms, None)


def _batch_forms(root: Path, cifar: CifarSet) -> Iterator[Found]:
    folders = existing_folders(root, cifar.layouts)
    for folder in (*(folder / cifar.batch_folder for folder in folders), *folders):
        if first_file(folder, cifar.batches.names) is not None:
            yield Found("batch folder", folder)
    for folder in folders:
        if (archive := first_file(folder, [cifar.archive.name])) is not None:
            yield Found("batch archive", archive)


def _image_forms(root: Path, cifar: CifarSet) -> Iterator[Found]:
    folders = existing_folders(root, cifar.layouts)
    for folder in folders:
        if is_image_folder(folder, cifar.tree):
            yield Found("image folder", folder)
    endings = (".tar.xz", ".tar.gz", ".tar.bz2", ".tar")
    names = [f"{stem}{ending}" for stem in cifar.image_archives for ending in endings]
    for folder in folders:
        if (archive := first_file(folder, names)) is not None:
            yield Found("image archive", archive)


def read(found: Found, cifar: CifarSet, cache_dir: Path) -> Arrays:
    """Read what was found; all but unpacked batches are decoded once into ``cache_dir``.

    Raises:
        DataError: it is incomplete or damaged.
    """
    path, tree = found.path, cifar.tree
    match found.form:
        case "batch folder":
            return decode_batch_folder(path, cifar.batches)
        case "batch archive":
            key = f"{cifar.name}-batches-{file_fingerprint(path)}"
            decode = partial(decode_batch_archive, path, cifar.batches)
        case "image folder":
            key = f"{cifar.name}-images-{folder_fingerprint(path)}"
            decode = partial(decode_folder, path, tree)
        case "image archive":
            key = f"{cifar.name}-images-{file_fingerprint(path)}"
            decode = partial(decode_archive, path, tree)
    return decoded_once(cache_dir, key, tree.shapes(), decode)


def load(request: LoadRequest, *, cifar: CifarSet, source: Source = "auto") -> Dataset:
    """Load 50,000 training and 10,000 test images ``[N, 3, 32, 32]``, uint8, scale 255.

    Args:
        request: where to look; archives and image folders are decoded once into its cache.
        cifar: which set.
        source: ``"batches"`` (the published pixels), ``"images"`` (an image folder; JPEG pixels
            differ slightly, and the published order is lost), or ``"auto"``: batches before
            images. Only batches are downloaded.

    Raises:
        DataError: nothing was found, or what was found is incomplete or damaged.
    """
    found = find(request.search_root, cifar, source)
    if found is None and source != "images" and request.data_dir is None and request.download:
        fetch(cifar.name, _LICENCE, [cifar.archive], request.cache_dir / cifar.name)
        found = find(request.search_root, cifar, source)
    if found is None:
        looked_for = {
            "auto": f"Python batches ({cifar.batch_folder}, {cifar.archive.name}) or images "
            "(train/<class>/*.jpg)",
            "batches": f"Python batches ({cifar.batch_folder}, {cifar.archive.name})",
            "images": f"images (train/<class>/*.jpg, {cifar.image_archives[0]}.tar.xz)",
        }[source]
        raise not_found(cifar.name, request, looked_for, [cifar.archive])
    arrays = read(found, cifar, request.cache_dir)
    return Dataset(
        name=cifar.name,
        kind="static",
        class_names=cifar.class_names,
        train=_split(arrays, "train"),
        test=_split(arrays, "test"),
        scale=255.0,
        mean=cifar.mean,
        std=cifar.std,
        augment="crop-flip",
        source=f"{found.form} {found.path}",
    )


def present(root: Path, *, cifar: CifarSet) -> bool:
    """Whether any form is found under ``root``."""
    return find(root, cifar) is not None


def _split(arrays: Arrays, split: str) -> Split:
    return Split(
        torch.from_numpy(arrays[f"{split}_inputs"]), torch.from_numpy(arrays[f"{split}_targets"])
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_LICENCE = "no formal licence; cite the report"
_CITATION = "Krizhevsky: Learning multiple layers of features from tiny images, 2009"

_CIFAR10_ARCHIVE = RemoteFile(
    "cifar-10-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    170498071,
    "md5:c58f30108f718f92721af3b95e74349a",
)
CIFAR10 = CifarSet(
    name="cifar10",
    archive=_CIFAR10_ARCHIVE,
    batch_folder="cifar-10-batches-py",
    batches=BatchSet(
        train=tuple((f"data_batch_{number}", 10000) for number in range(1, 6)),
        test=(("test_batch", 10000),),
        label_key="labels",
        classes=10,
        published=_CIFAR10_ARCHIVE,
    ),
    class_names=_names("airplane automobile bird cat deer dog frog horse ship truck"),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    image_folders=("cifar10-jpg", "cifar-10", "CIFAR-10-images"),
    image_archives=("cifar10-jpg", "cifar10-png", "cifar10-images", "CIFAR-10-images"),
)

_CIFAR100_ARCHIVE = RemoteFile(
    "cifar-100-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    169001437,
    "md5:eb9058c3a382ffc7106e4002c42a8d85",
)
CIFAR100 = CifarSet(
    name="cifar100",
    archive=_CIFAR100_ARCHIVE,
    batch_folder="cifar-100-python",
    batches=BatchSet(
        train=(("train", 50000),),
        test=(("test", 10000),),
        label_key="fine_labels",
        classes=100,
        published=_CIFAR100_ARCHIVE,
    ),
    class_names=_names(
        """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
        butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
        crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
        kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
        mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
        plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark
        shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table
        tank telephone television tiger tractor train trout tulip turtle wardrobe whale
        willow_tree wolf woman worm"""
    ),
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    image_folders=("cifar100-jpg", "cifar-100", "CIFAR-100-images"),
    image_archives=("cifar100-jpg", "cifar100-png", "cifar100-images", "CIFAR-100-images"),
)


def _entry(cifar: CifarSet, description: str) -> DatasetEntry:
    def load_set(request: LoadRequest, *, source: Source = "auto") -> Dataset:
        return load(request, cifar=cifar, source=source)

    return DatasetEntry(
        name=cifar.name,
        kind="static",
        description=description,
        licence=_LICENCE,
        citation=_CITATION,
        files=(cifar.archive,),
        load=load_set,
        present=partial(present, cifar=cifar),
    )


CIFAR10_ENTRY = _entry(
    CIFAR10, "32 x 32 colour photographs of 10 things, 50,000 training and 10,000 test images"
)
CIFAR100_ENTRY = _entry(
    CIFAR100, "32 x 32 colour photographs of 100 things, 50,000 training and 10,000 test images"
)
