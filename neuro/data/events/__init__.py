"""Event-camera data: file formats, frames, data sets, and a simulated camera."""

from neuro.data.events.camera import EventCamera
from neuro.data.events.frames import frames_by_count, frames_by_time
from neuro.data.events.simulator import simulate_dataset, simulate_events, simulate_frames
from neuro.data.events.stream import EventStream

__all__ = [
    "EventCamera",
    "EventStream",
    "frames_by_count",
    "frames_by_time",
    "simulate_dataset",
    "simulate_events",
    "simulate_frames",
]
