"""Every data set by name."""

from pathlib import Path
from typing import Any

from neuro.data import digits, mnist1d
from neuro.data.cifar import CIFAR10_ENTRY, CIFAR100_ENTRY
from neuro.data.dataset import Dataset
from neuro.data.entry import DatasetEntry, LoadRequest, default_data_dir
from neuro.data.events import cifar10_dvs, dvs_gesture, nmnist, shd
from neuro.data.events.simulator import simulated_entry
from neuro.data.mnist import FASHION_MNIST_ENTRY, MNIST_ENTRY
from neuro.errors import UsageError, nearest

_IMAGES: tuple[DatasetEntry, ...] = (
    digits.ENTRY,
    MNIST_ENTRY,
    FASHION_MNIST_ENTRY,
    CIFAR10_ENTRY,
    CIFAR100_ENTRY,
)
_ENTRIES: tuple[DatasetEntry, ...] = (
    *_IMAGES,
    mnist1d.ENTRY,
    nmnist.ENTRY,
    dvs_gesture.ENTRY,
    cifar10_dvs.ENTRY,
    shd.ENTRY,
    *(simulated_entry(entry) for entry in _IMAGES),
)
DATASETS: dict[str, DatasetEntry] = {entry.name: entry for entry in _ENTRIES}


def find_entry(name: str) -> DatasetEntry:
    """Return the entry called ``name``.

    Raises:
        UsageError: there is none.
    """
    if name not in DATASETS:
        raise UsageError(
            f'Unknown data set "{name}".{nearest(name, DATASETS)} Known: {", ".join(DATASETS)}.'
        )
    return DATASETS[name]


def load_dataset(
    name: str,
    *,
    data_dir: Path | str | None = None,
    timesteps: int | None = None,
    download: bool = True,
    **options: Any,
) -> Dataset:
    """Load a data set by name.

    Args:
        name: a key of ``DATASETS``.
        data_dir: the only place to look for its files: the data set's own folder or a root that
            holds several sets. Never written to. None = the download folder
            (``$NEURO_DATA_DIR``, else the user's cache folder).
        timesteps: frames per sample, > 0, for event data; None = the data set's default. Static
            data have no time axis and ignore it.
        download: whether files missing from the download folder are downloaded.
        options: the keyword-only parameters of the entry's ``load``.

    Raises:
        UsageError: unknown name or option, an option of another type, or timesteps < 1.
        DataError: a file is missing, damaged or cannot be downloaded.
    """
    entry = find_entry(name)
    if timesteps is not None and timesteps < 1:
        raise UsageError(f"timesteps must be at least 1, got {timesteps}.")
    checked = entry.checked_options(options)
    folder = None if data_dir is None else Path(data_dir)
    request = LoadRequest(folder, default_data_dir(), timesteps, download)
    return entry.load(request, **checked)
