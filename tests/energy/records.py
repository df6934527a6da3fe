"""A record of a report with figures that are easy to follow; not one of a real network."""

from typing import Any


def pj(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def layer(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "linear",
        "signal": "binary",
        "parameters": 20,
        "weights": 20,
        "state": 0,
        "neurons": 0,
        "rate": 0.125,
        "counts": {"synaptic_additions": 12.5},
        **changes,
    }


def profile(name: str, kind: str, scale: float, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "kinds": [kind],
        "kind": kind,
        "family": "simulated",
        "estimate": True,
        "scope": "arithmetic alone",
        "with_memory_pj": pj(9000 * scale, 8000 * scale, 10000 * scale),
        "total_pj": pj(1234 * scale, 1000 * scale, 2000 * scale),
        "spread_pj": 56 * scale,
        "layers": [
            {"name": "first", "pj": pj(1000 * scale, 900 * scale, 1500 * scale)},
            {"name": "<lif> & 2", "pj": pj(234 * scale, 100 * scale, 500 * scale)},
        ],
        "terms": [
            {"name": "additions", "pj": pj(1234 * scale, 1000 * scale, 2000 * scale)},
            {"name": "memory: weights", "pj": pj(7766 * scale, 7000 * scale, 8000 * scale)},
        ],
        "sensitivity": [
            {"constant": "addition_energy", "low_pj": 800 * scale, "high_pj": 1900 * scale},
            {"constant": "fixed_energy", "low_pj": 1234 * scale, "high_pj": 1234 * scale},
        ],
        "excluded": ["comparisons: 3 a sample without a price"],
        "notes": [f"{name} is no real chip"],
        "citations": [f"{name.capitalize()} et al. 2014, A table of 50 % & more, Table 2"],
        **changes,
    }


def baseline(name: str, bits: int | None, accuracy: float | None) -> dict[str, Any]:
    priced = {
        "name": "fine",
        "kinds": ["simulated"],
        "kind": "simulated",
        "family": "simulated",
        "estimate": True,
        "priced_by": "fine-own",
        "total_pj": pj(2468, 2000, 4000),
        "ratio": pj(0.5, 0.25, 0.75),
        "reason": None,
    }
    nothing = dict.fromkeys(("priced_by", "kinds", "kind", "family", "total_pj", "ratio"))
    reason = {"name": "coarse", **nothing, "estimate": True, "reason": "coarse prices no products"}
    return {
        "name": name,
        "bits": bits,
        "accuracy": accuracy,
        "budget": accuracy and {"epochs": 2, "lr": 0.003, "rates": {"0.001": 0.9, "0.003": 1.0}},
        "parameters": 40,
        "totals": {"macs": 536},
        "profiles": [priced, reason],
    }


def record(**changes: Any) -> dict[str, Any]:
    """Return a whole record; profile "coarse" cannot price baselines."""
    return {
        "schema": 1,
        "what": {
            "unit": "samples",
            "run": "runs/one",
            "form": "run",
            "method": "opzo",
            "dataset": "digits",
            "model": "mlp",
            "checkpoint": "last",
            "signal": "real",
            "accuracy_samples": 297,
            "samples": 64,
            "timesteps": 6,
        },
        "estimate": True,
        "accuracy": 0.9765,
        "measure": "accuracy",
        "coverage": 1.0,
        "parameters": 1040,
        "layers": [
            layer("first", signal="real", rate=None, counts={"macs": 1536}),
            layer(
                "<lif> & 2",
                kind="neurons",
                neurons=10,
                state=20,
                parameters=0,
                counts={"spikes": 7.5, "neuron_updates": 60},
            ),
        ],
        "totals": {"macs": 1536, "spikes": 7.5, "neuron_updates": 60, "synaptic_additions": 12.5},
        "profiles": [profile("fine", "simulated", 1.0), profile("coarse", "derived", 1000.0)],
        "baselines": [baseline("ann-fp32", None, 0.98), baseline("qnn-3bit", 3, None)],
        "break_even": [
            {
                "layer": "first",
                "rate": 0.125,
                "break_even": {"fine": 0.065, "coarse": None},
                "synapse": {"fine": 0.1, "coarse": None},
            }
        ],
        "training": {
            "rules": {
                "opzo": {
                    "batch": 16,
                    "phases": {"forward": {"macs": 10}, "feedback updates": {"macs": 5}},
                    "totals": {"macs": 15, "synaptic_additions": 3},
                    "stored": {"states": 8, "feedback": 4},
                    "synaptic_updates": 7,
                    "profiles": [
                        {
                            "name": name,
                            "kinds": ["simulated"],
                            "kind": "simulated",
                            "family": "simulated",
                            "estimate": True,
                            "total_pj": pj(5000, 4000, 6000),
                            "on_chip_pj": on_chip,
                            "reason": None,
                        }
                        for name, on_chip in (("fine", None), ("coarse", pj(840, 700, 900)))
                    ],
                    "reason": None,
                },
                "dkp": {
                    "batch": None,
                    "phases": {},
                    "totals": {},
                    "stored": {},
                    "synaptic_updates": None,
                    "profiles": [],
                    "reason": "nothing is known of it",
                },
            }
        },
        **changes,
    }


def comparison(**changes: Any) -> dict[str, Any]:
    """Return a record of two runs side by side."""
    one = record()
    other = record(accuracy=None, parameters=2000)
    other["what"] = {**other["what"], "run": "runs/<two>", "timesteps": 1}
    runs = []
    for each, seconds in ((one, 0.0123), (other, None)):
        runs.append(
            {
                **{
                    key: each[key]
                    for key in ("what", "accuracy", "measure", "coverage", "parameters", "totals")
                },
                "profiles": [
                    {
                        key: p[key]
                        for key in (
                            "name",
                            "kinds",
                            "kind",
                            "family",
                            "estimate",
                            "total_pj",
                            "with_memory_pj",
                            "excluded",
                        )
                    }
                    | {"ratio": None, "ratio_with_memory": None}
                    for p in each["profiles"]
                ],
                "latency": {"steps": each["what"]["timesteps"], "seconds": seconds},
            }
        )
    profiles = [
        {key: each[key] for key in ("name", "scope", "notes", "citations")}
        for each in one["profiles"]
    ]
    return {"schema": 1, "estimate": True, "profiles": profiles, "runs": runs, **changes}
