"""Runs the samples of one job in Lava: a program of its own, which imports numpy and Lava alone.

    python runner.py FOLDER [--watched]

:func:`neuro.hardware.lava.run.run` writes the job, starts this under whichever interpreter has
Lava (3.10 or later), watches it, and reads what it leaves behind; an exported job is run by hand::

    job.json                 what to run, and how
    graph.json, graph.npz    the integer graph, for engine "lava"
    inputs.npz               input.source, [samples, steps, *shape]
    sample<n>.npz            -> population.signal, [steps, *shape], and seconds, see run_sample;
                                there once it is whole
    failure.txt              -> tracebacks of process models, as soon as they are raised

Lava makes an OS process of every synapse, population and monitor, by fork. What one of them raises
it does not tell: the others wait for ever. So each writes its own traceback down. With
``--watched`` whoever started this program ends it, with all its processes, when it sees one, and it
ends by itself when its stdin closes; without, it does so itself.

Lava's convolutions are of [W, H, C]; a source or population of three dimensions is turned round,
one of any other number is flattened.
"""

import functools
import json
import logging
import multiprocessing
import os
import runpy
import signal
import sys
import threading
import time
import traceback
import types
from pathlib import Path
from typing import Any

import numpy as np

PORTS = {"spikes": "s_out", "u": "u", "v": "v"}
"""What each signal is called in Lava."""
STATE_SCALE = 64.0
"""Weights and thresholds in units of the least bit of the state."""
DECAY_SCALE = 4096.0


def main(folder: Path, watched: bool) -> None:
    """Run every sample of a job."""
    failure = folder / "failure.txt"
    failure.unlink(missing_ok=True)
    if watched:
        _end_with_parent()
    else:
        _end_with_failure(failure)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    runpy.run_path(str(Path(__file__).with_name("shim.py")))["install"]()
    _write_failures_down(failure)
    _let_monitors_keep_records()
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    build = NetxNetwork if job["engine"] == "netx" else LavaNetwork
    with np.load(folder / "inputs.npz", allow_pickle=False) as inputs:
        arrays = {name.removeprefix("input."): inputs[name] for name in inputs.files}
    for number in range(job["samples"]):
        sample = {name: array[number] for name, array in arrays.items()}
        began = time.perf_counter()
        network = build(job, folder, sample)
        run_sample(job, folder, network, number, began)


def run_sample(job: dict[str, Any], folder: Path, network: Any, number: int, began: float) -> None:
    """Run a network for the steps of the job, and write what was asked for.

    Two seconds go with it: from when its making began to the end of the first step, in which Lava
    compiles it and starts its processes, and of the steps that follow.
    """
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi1SimCfg, Loihi2SimCfg

    chosen = {"loihi1": Loihi1SimCfg, "loihi2": Loihi2SimCfg}[job["chip"]]
    tag = "floating_pt" if job["floating"] else "fixed_pt"
    steps = job["steps"]
    records = {
        (name, each): _monitor(
            getattr(network.neurons(name), PORTS[each]), steps, folder / f"{place}.{each}.npy"
        )
        for place, name in enumerate(job["populations"])
        for each in job["signals"]
    }
    starting, stepping = 0.0, 0.0
    for process in network.components():
        run_cfg = chosen(select_tag=tag)
        process.run(condition=RunSteps(num_steps=1), run_cfg=run_cfg)
        started = time.perf_counter()
        starting += started - began
        if steps > 1:
            process.run(condition=RunSteps(num_steps=steps - 1), run_cfg=run_cfg)
        began = time.perf_counter()
        stepping += began - started
        process.stop()
    found: dict[str, Any] = {"seconds": np.array([starting, stepping])}
    for (name, each), file in records.items():
        array = network.turned_back(name, np.load(file))
        file.unlink()
        if each == "spikes":
            array = array.astype(np.int8)
        else:
            array = array * STATE_SCALE if job["floating"] else array.astype(np.int32)
        found[f"{name}.{each}"] = array
    partial = folder / "partial.npz"
    np.savez(partial, **found)
    partial.replace(folder / f"sample{number}.npz")


class LavaNetwork:
    """An integer graph as Lava processes, one sample in its sources."""

    def __init__(self, job: dict[str, Any], folder: Path, inputs: dict[str, Any]) -> None:
        self._job = job
        self._record = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
        with np.load(folder / "graph.npz", allow_pickle=False) as stored:
            self._arrays = {name: stored[name] for name in stored.files}
        self._shapes = {
            table["name"]: tuple(table["shape"])
            for table in (*self._record["sources"], *self._record["populations"])
        }
        self._message_bits: dict[str, int] = {}
        self._joined: list[tuple[str, str]] = []
        self._processes: dict[str, Any] = {}
        for table in self._record["sources"]:
            self._processes[table["name"]] = self._source(table, inputs[table["name"]])
        for table in self._record["populations"]:
            self._processes[table["name"]] = self._population(table)
        for number, table in enumerate(self._record["connections"]):
            self._connect(number, table)

    def neurons(self, name: str) -> Any:
        """Return the process of a population."""
        return self._processes[name]

    def components(self) -> list[Any]:
        """Return one population of every part that is joined; Lava runs a part as a whole."""
        part = {name: name for name in self._processes}
        for source, target in self._joined:
            old, new = part[source], part[target]
            part = {name: new if label == old else label for name, label in part.items()}
        populations = [table["name"] for table in self._record["populations"]]
        return [
            self._processes[name] for name in {part[each]: each for each in populations}.values()
        ]

    def turned_back(self, name: str, array: Any) -> Any:
        """Return a record ``[steps, ...]`` of Lava in the shape of the population."""
        shape = self._shapes[name]
        if len(shape) == 3:
            return array.transpose(0, 3, 2, 1)
        return array.reshape(len(array), *shape)

    def _stored(self, owner: str, field: str, absent: int = 0) -> Any:
        return self._arrays.get(f"{owner}.{field}", np.int32(absent))

    def _turned(self, name: str, array: Any) -> Any:
        """Return an array of a source's or population's shape as Lava holds it."""
        return array.transpose(2, 1, 0) if len(self._shapes[name]) == 3 else array.reshape(-1)

    def _lava_shape(self, name: str) -> tuple[int, ...]:
        shape = self._shapes[name]
        return shape[::-1] if len(shape) == 3 else (int(np.prod(shape)),)

    def _source(self, table: dict[str, Any], values: Any) -> Any:
        from lava.proc.io.source import RingBuffer

        self._message_bits[table["name"]] = table["message_bits"]
        turned = [self._turned(table["name"], step) for step in values]
        return RingBuffer(data=np.stack(turned, axis=-1).astype(np.int32))

    def _population(self, table: dict[str, Any]) -> Any:
        from lava.proc.lif.process import LIF, LIFReset, TernaryLIF

        name, neuron = table["name"], table["neuron"]
        ternary = f"{name}.vth_low" in self._arrays
        self._message_bits[name] = 2 if ternary else 0  # by which a synapse sees -1
        options: dict[str, Any] = {"shape": self._lava_shape(name), **self._registers(name)}
        if ternary:
            options["vth_hi"] = options.pop("vth")
            options["vth_lo"] = self._in_lava(name, self._stored(name, "vth_low"))
            return TernaryLIF(**options)
        start, interval = neuron.get("start"), neuron.get("interval")
        if start is None or start >= self._job["steps"]:
            return LIF(**options)
        never_again = self._job["steps"] + 1  # Lava counts steps from 1
        return LIFReset(reset_interval=interval or never_again, reset_offset=start + 1, **options)

    def _registers(self, name: str) -> dict[str, Any]:
        """Return du, dv, vth and bias; without rounding, in units of weights."""
        fields = ("du", "dv", "vth", "bias_mant", "bias_exp")
        found = {each: self._stored(name, each) for each in fields}
        if self._job["floating"]:
            bias = found["bias_mant"].astype(np.int64) << found.pop("bias_exp")
            found = {
                "du": (found["du"] + 1) / DECAY_SCALE,
                "dv": found["dv"] / DECAY_SCALE,
                "vth": found["vth"].astype(np.float64),
                "bias_mant": bias / STATE_SCALE,
            }
        return {each: self._in_lava(name, value) for each, value in found.items()}

    def _in_lava(self, name: str, value: Any) -> Any:
        """Return a register's value: a number, or an array in Lava's order of the neurons."""
        value = np.asarray(value)
        if value.ndim == 0:
            return value.item()
        return self._turned(name, np.broadcast_to(value, self._shapes[name])).copy()

    def _connect(self, number: int, table: dict[str, Any]) -> None:
        source, target = table["source"], table["target"]
        self._joined.append((source, target))
        owner = f"connection{number}"
        make = {"dense": self._dense, "sparse": self._sparse, "convolution": self._convolution}
        kind = table["synapses"]["kind"]
        grid, heard_grid = len(self._shapes[source]) == 3, len(self._shapes[target]) == 3
        for synapse in make[kind](owner, table):
            sent = self._processes[source].s_out
            heard = synapse.a_out
            if kind != "convolution":
                if grid:
                    sent = sent.transpose([2, 1, 0]).flatten()
                if heard_grid:
                    heard = heard.reshape(self._shapes[target]).transpose([2, 1, 0])
            sent.connect(synapse.s_in)
            heard.connect(self._processes[target].a_in)

    def _options(self, table: dict[str, Any]) -> dict[str, Any]:
        """Return what all synapses of a connection are told; Lava's floating ones know no shift."""
        return {
            "weight_exp": 0 if self._job["floating"] else table["weight_exponent"],
            "num_weight_bits": self._job["weight_bits"],
            "num_message_bits": self._message_bits[table["source"]],
        }

    def _weight(self, owner: str, table: dict[str, Any]) -> Any:
        weight = self._arrays[f"{owner}.synapses.weight"].astype(np.int32)
        if self._job["floating"]:
            return weight * 2.0 ** table["weight_exponent"]
        return weight

    def _dense(self, owner: str, table: dict[str, Any]) -> list[Any]:
        from lava.proc.dense.process import DelayDense, Dense

        weight, delay = self._weight(owner, table), self._stored(owner, "delay")
        if not delay.any():
            return [Dense(weights=weight, **self._options(table))]
        delays = np.broadcast_to(delay, weight.shape).astype(np.int64)
        return [DelayDense(weights=weight, delays=delays, **self._options(table))]

    def _sparse(self, owner: str, table: dict[str, Any]) -> list[Any]:
        """Return a process of the first synapses between any two neurons, one of the second..."""
        from lava.proc.sparse.process import DelaySparse, Sparse
        from scipy.sparse import csr_matrix

        weight, delay = self._weight(owner, table), self._stored(owner, "delay")
        delay = np.broadcast_to(delay, weight.shape).astype(np.int64)
        starts = self._arrays[f"{owner}.synapses.starts"].astype(np.int64)
        sources = self._arrays[f"{owner}.synapses.sources"].astype(np.int64)
        targets = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        shape = (len(starts) - 1, int(np.prod(self._shapes[table["source"]])))
        options = self._options(table)
        if weight.size:
            options["sign_mode"] = self._sign_mode(weight)
        made = []
        for chosen in _without_doubles(targets, sources, shape[1]):
            places = (targets[chosen], sources[chosen])
            weights = csr_matrix((weight[chosen], places), shape=shape)
            if not delay[chosen].any():
                made.append(Sparse(weights=weights, **options))
                continue
            delays = csr_matrix((delay[chosen], places), shape=shape)
            made.append(DelaySparse(weights=weights, delays=delays, **options))
        return made

    def _sign_mode(self, weight: Any) -> Any:
        """Return the sign mode of all synapses together, which parts of them need not show."""
        from lava.utils.weightutils import determine_sign_mode

        return determine_sign_mode(weight)

    def _convolution(self, owner: str, table: dict[str, Any]) -> list[Any]:
        """Return a Conv, which flips its kernel, and neither shifts nor rounds nor delays."""
        from lava.proc.conv.process import Conv

        weight = self._weight(owner, table)
        exponent = table["weight_exponent"]
        if not self._job["floating"]:
            weight = weight << exponent if exponent > 0 else weight >> -exponent
        synapses = table["synapses"]
        return [
            Conv(
                weight=weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1).copy(),
                input_shape=self._lava_shape(table["source"]),
                stride=tuple(synapses["stride"][::-1]),
                padding=tuple(synapses["padding"][::-1]),
                dilation=tuple(synapses["dilation"][::-1]),
                groups=synapses["groups"],
                num_message_bits=self._message_bits[table["source"]],
            )
        ]


class NetxNetwork:
    """A ``.net`` file as netx reads it, one sample in its source."""

    def __init__(self, job: dict[str, Any], folder: Path, inputs: dict[str, Any]) -> None:
        _do_without_torch()
        from lava.lib.dl.netx import hdf5
        from lava.proc.io.source import RingBuffer

        self._shapes: dict[str, Any] = job["layers"]
        self._network = hdf5.Network(net_config=job["net"], **job["network"])
        (values,) = inputs.values()
        shape = self._network.inp.shape
        turned = (
            values.transpose(3, 2, 1, 0) if len(shape) == 3 else values.reshape(len(values), -1).T
        )
        self._source = RingBuffer(data=turned.astype(np.int32))
        self._source.s_out.connect(self._network.inp)
        if len(self._network.layers) != len(self._shapes):
            raise ValueError(
                f"netx makes {len(self._network.layers)} layers of {job['net']}; expected "
                f"{len(self._shapes)}, one for each population"
            )

    def neurons(self, name: str) -> Any:
        """Return the process of a layer's neurons."""
        return self._network.layers[list(self._shapes).index(name)].neuron

    def components(self) -> list[Any]:
        """Return what to run."""
        return [self._source]

    def turned_back(self, name: str, array: Any) -> Any:
        """Return a record ``[steps, ...]`` of Lava in the shape of the population."""
        shape = self._shapes[name]
        if array.ndim == 4:
            return array.transpose(0, 3, 2, 1)
        return array.reshape(len(array), *shape)


def _without_doubles(targets: Any, sources: Any, columns: int) -> list[Any]:
    """Return sets of synapses, as their places, in each of which no two join the same neurons."""
    pair = targets * columns + sources
    order = np.argsort(pair, kind="stable")
    _, first, counts = np.unique(pair[order], return_index=True, return_counts=True)
    rank = np.empty(len(pair), np.int64)
    rank[order] = np.arange(len(pair)) - np.repeat(first, counts)
    return [np.flatnonzero(rank == turn) for turn in range(int(rank.max(initial=0)) + 1)]


def _monitor(probed: Any, steps: int, file: Path) -> Path:
    from lava.proc.monitor.process import Monitor

    monitor = Monitor()
    monitor.probe(probed, steps)
    monitor.proc_params["last_step"] = steps
    monitor.proc_params["file"] = str(file)
    return file


def _let_monitors_keep_records() -> None:
    """Let each monitor write its own file: Lava's way fetches records number by number."""
    from lava.proc.monitor.models import PyMonitorModel as Model

    def then_write(phase: Any, count: str, held: str) -> Any:
        @functools.wraps(phase)
        def wrapped(model: Any) -> None:
            phase(model)
            params = model.proc_params
            if model.time_step == params["last_step"] and params[count]:
                np.save(params["file"], getattr(model, held))

        return wrapped

    Model.run_spk = then_write(Model.run_spk, "n_in_ports", "out_read_0")
    Model.run_post_mgmt = then_write(Model.run_post_mgmt, "n_ref_ports", "var_read_0")


def _write_failures_down(file: Path) -> None:
    """Let every process of Lava write its traceback to a file before it tells the runtime."""
    from lava.magma.runtime.message_infrastructure import multiprocessing as infrastructure

    class Reporting(infrastructure.SystemProcess):  # type: ignore[misc]
        def run(self) -> None:
            try:
                multiprocessing.Process.run(self)
            except Exception as error:
                told = traceback.format_exc()
                with file.open("a", encoding="utf-8") as stream:
                    stream.write(told + "\n")
                self._cconn.send((error, told))
            else:
                self._cconn.send(None)

    infrastructure.SystemProcess = Reporting


def _do_without_torch() -> None:
    """Stand in for what netx imports of training: resonate-and-fire neurons, and torch modules."""
    slayer = "lava.lib.dl.slayer"
    for name in (slayer, f"{slayer}.neuron", f"{slayer}.neuron.rf"):
        _stand_in(name)
    _stand_in("lava.lib.dl.netx.sequential_modules")
    sys.modules[f"{slayer}.neuron.rf"].neuron_params = None  # type: ignore[attr-defined]


def _stand_in(name: str) -> None:
    module = types.ModuleType(name)
    module.__path__ = []
    module.__file__ = __file__  # Lava asks every module under its own packages for one
    sys.modules[name] = module


def _end_with_parent() -> None:
    """End the whole process group when whoever started it is gone: its end of stdin closes."""
    lifeline = os.dup(0)

    def follow() -> None:
        while os.read(lifeline, 1):
            pass
        os.killpg(0, signal.SIGTERM)

    threading.Thread(target=follow, daemon=True).start()


def _end_with_failure(file: Path) -> None:
    """End this program and its processes, with what they wrote down, when one of them failed."""

    def look() -> None:
        while not file.exists():
            time.sleep(0.1)
        time.sleep(0.5)  # others may have more to tell
        sys.stderr.write(file.read_text(encoding="utf-8"))
        sys.stderr.flush()
        for process in multiprocessing.active_children():
            process.kill()
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), watched=sys.argv[2:] == ["--watched"])
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # Lava waits for its processes at exit, for ever after a failure
    os._exit(0)
