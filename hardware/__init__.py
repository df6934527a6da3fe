"""Chips: their numbers with a unit, a kind, a source and a year, and networks as they run them."""

from neuro.hardware.profile import (
    HardwareProfile,
    Quantity,
    load_profile,
    profile_names,
    read_profile,
)

__all__ = ["HardwareProfile", "Quantity", "load_profile", "profile_names", "read_profile"]
