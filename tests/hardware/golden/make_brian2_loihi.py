"""Make ``brian2_loihi.npz``: what brian2-loihi, checked by its authors on a chip, does.

In an environment of its own::

    pip install brian2-loihi==0.5.2 "numpy<2.3"
    python tests/hardware/golden/make_brian2_loihi.py

The file holds the spikes that went in ``[T, sources]``, the weights ``[targets, sources]``, and
current, potential and spikes ``[T, targets]`` that came out.
"""

from pathlib import Path

import brian2
import brian2_loihi
import numpy as np

STEPS, SOURCES, TARGETS = 200, 10, 6
DECAY_I, DECAY_V, THRESHOLD = 512, 256, 1000


def main() -> None:
    brian2.prefs.codegen.target = "numpy"
    rng = np.random.default_rng(3)
    spikes = rng.random((SOURCES, STEPS)) < 0.2
    weight = rng.integers(-127, 127, (TARGETS, SOURCES)) * 2

    places, times = np.nonzero(spikes)
    source = brian2_loihi.LoihiSpikeGeneratorGroup(SOURCES, places, times)
    neurons = brian2_loihi.LoihiNeuronGroup(
        TARGETS, refractory=1, threshold_v_mant=THRESHOLD, decay_v=DECAY_V, decay_I=DECAY_I
    )
    synapses = brian2_loihi.LoihiSynapses(
        source, neurons, w_exp=0, sign_mode=brian2_loihi.synapse_sign_mode.MIXED
    )
    synapses.connect()
    synapses.w = weight.T.reshape(-1)  # source by source
    current = brian2_loihi.LoihiStateMonitor(neurons, "I")
    potential = brian2_loihi.LoihiStateMonitor(neurons, "v")
    sent = brian2_loihi.LoihiSpikeMonitor(neurons)
    network = brian2_loihi.LoihiNetwork(source, neurons, synapses, current, potential, sent)
    network.run(STEPS, report=None)

    out = np.zeros((STEPS, TARGETS), np.int32)
    out[np.asarray(sent.t).round().astype(int), np.asarray(sent.i)] = 1
    print(out.sum(), "spikes")
    np.savez_compressed(
        Path(__file__).with_name("brian2_loihi.npz"),
        inputs=spikes.T.astype(np.int32),
        weight=weight.astype(np.int32),
        u=np.asarray(current.I).T.astype(np.int32),
        v=np.asarray(potential.v).T.astype(np.int32),
        spikes=out,
    )


if __name__ == "__main__":
    main()
