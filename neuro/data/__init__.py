"""Data sets: readers, downloads, and how each is scaled."""

from neuro.data.dataset import Dataset, Split
from neuro.data.entry import DatasetEntry, LoadRequest, RemoteFile, default_data_dir
from neuro.data.registry import DATASETS, find_entry, load_dataset

__all__ = [
    "DATASETS",
    "Dataset",
    "DatasetEntry",
    "LoadRequest",
    "RemoteFile",
    "Split",
    "default_data_dir",
    "find_entry",
    "load_dataset",
]
