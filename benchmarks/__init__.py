"""Measurements behind every figure the project states; results are committed as JSON.

accuracy    grids of training runs (rule variants x seeds), resumable
gradients   variance of gradients and alignment of credit, by layer, during training
memory      peak memory of one update as the number of time steps grows
speed       time per training sample, contenders interleaved in one process
layers      time and memory of a neuron layer beside other frameworks
synapses    spike events beside the dense product, over density and size
graph       delayed messages on knowledge graphs beside naive torch
ranking     time to judge a reasoner on a whole test set
exports     trained networks as integers: accuracy, proof in Lava, time
energy      estimated energy of trained networks beside fair baselines
counting    what counting operations adds to an evaluation
figures     PNG pictures, from the JSON alone
tables      docs/results.md and the highlights in README.md, from the JSON alone

Each is run from the root of the repository as ``python -m benchmarks.NAME``.
"""
