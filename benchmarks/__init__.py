"""Measurements behind every figure the project states; results are committed as JSON.

accuracy    grids of training runs (rule variants x seeds), resumable
gradients   variance of gradients and alignment of credit, by layer, during training
memory      peak memory of one update as the number of time steps grows
speed       time per training sample, contenders interleaved in one process
figures     PNG pictures, from the JSON alone
tables      docs/results.md and the highlights in README.md, from the JSON alone

Each is run from the root of the repository as ``python -m benchmarks.NAME``.
"""
