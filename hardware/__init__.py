"""Chips as data: numbers with a unit, a kind, a source and a year."""

from neuro.hardware.profile import (
    HardwareProfile,
    Quantity,
    load_profile,
    profile_names,
    read_profile,
)

__all__ = ["HardwareProfile", "Quantity", "load_profile", "profile_names", "read_profile"]
