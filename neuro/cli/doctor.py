"""``neuro doctor``: versions, kernels, and what is missing with the command that gets it."""

from typing import Any

from neuro.cli.output import print_json, print_table


def doctor(*, kernels: bool = False, json: bool = False) -> None:
    """Show versions, kernels and what is missing, with the command that gets it.

    Parameters
    ----------
    kernels
        Only the kernels: which implementation serves each, and why the others do not.
    json
        Print exactly one JSON object on stdout.
    """
    found: dict[str, Any] = {"kernels": _kernels(), "schema": 1}
    if not kernels:
        found = {
            **_machine(),
            "optional_packages": _optional_packages(),
            "lava": _lava(),
            "nir_readers": _nir_readers(),
            **found,
        }
    if json:
        print_json(found)
        return
    if not kernels:
        _print_machine(found)
        print()
    rows = [
        (row["op"], row["device"], row["implementation"] or "none", "; ".join(row["reasons"]))
        for row in found["kernels"]
    ]
    print_table(("kernel", "device", "served by", "why not the others"), rows)


def _machine() -> dict[str, Any]:
    import torch

    from neuro.data.entry import default_data_dir
    from neuro.training.environment import describe_environment
    from neuro.training.memory import malloc_plan

    environment = describe_environment(torch.device("cpu"))
    keys = ("neuro", "git_commit", "python", "packages", "platform", "cpu", "cpus", "threads")
    malloc = malloc_plan()
    return {
        **{key: environment[key] for key in keys},
        "cuda": {
            "available": torch.cuda.is_available(),
            "torch_built_for": torch.version.cuda,
            "gpus": [
                torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
            ],
        },
        "data_dir": str(default_data_dir()),
        "malloc": {"tuned": malloc.tuned, "reason": malloc.reason},
    }


def _kernels() -> list[dict[str, Any]]:
    from neuro.kernels import explain

    return [
        {
            "op": row.op,
            "device": row.device,
            "implementation": row.implementation,
            "reasons": list(row.reasons),
        }
        for row in explain()
    ]


def _optional_packages() -> list[dict[str, Any]]:
    """Every package of the extras for users, as the installed metadata list them."""
    import re
    from importlib.metadata import PackageNotFoundError, requires

    from neuro.training.environment import package_version

    try:
        requirements = requires("neuro-snn") or []
    except PackageNotFoundError:  # run from a source tree that was never installed
        return []
    found = []
    for requirement in requirements:
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", requirement)
        name = re.match(r"[\w.-]+", requirement)
        if extra is None or name is None or extra[1] in ("test", "dev"):
            continue
        found.append(
            {
                "package": name[0],
                "extra": extra[1],
                "version": package_version(name[0]),
                "install": f'pip install "neuro-snn[{extra[1]}]"',
            }
        )
    return found


def _lava() -> dict[str, Any]:
    """The Python that has Intel's Lava, or why there is none and how to get it."""
    from neuro.hardware.lava.interpreter import LavaMissingError, find_interpreter

    try:
        found = find_interpreter()
    except LavaMissingError as error:
        return {"version": None, "reason": str(error)}
    return {
        "version": found.lava,
        "lava_dl": found.lava_dl,
        "numpy": found.numpy,
        "python": found.python,
        "interpreter": str(found.path),
        "chosen_by": found.chosen_by,
    }


def _nir_readers() -> dict[str, Any]:
    """The Python that has the frameworks that read NIR, and how to get those that are missing."""
    from neuro.export.readers import HOW, find_readers

    found = find_readers()
    return {
        "versions": dict(found.versions),
        "interpreter": str(found.path),
        "chosen_by": found.chosen_by,
        **({"reason": HOW} if found.missing else {}),
    }


def _print_machine(found: dict[str, Any]) -> None:
    commit = f" (commit {found['git_commit']})" if found["git_commit"] else ""
    cuda = found["cuda"]
    if cuda["available"]:
        gpu = ", ".join(cuda["gpus"])
    elif cuda["torch_built_for"] is None:
        gpu = "none: this torch is a CPU build; https://pytorch.org/get-started lists CUDA builds"
    else:
        gpu = f"none seen: torch is built for CUDA {cuda['torch_built_for']}; is a driver there?"
    rows = [
        ("neuro", f"{found['neuro']}{commit}"),
        ("python", found["python"]),
        *((name, version or "not installed") for name, version in found["packages"].items()),
        ("platform", found["platform"]),
        ("cpu", f"{found['cpu']}, {found['cpus']} logical cores"),
        ("torch threads", found["threads"]),
        ("gpu", gpu),
        ("data folder", found["data_dir"]),
        ("malloc", found["malloc"]["reason"]),
    ]
    for package in found["optional_packages"]:
        state = package["version"] or f"missing; {package['install']}"
        rows.append((f"{package['package']} (optional)", state))
    rows.append(("lava", _lava_in_words(found["lava"])))
    rows.append(("nir readers", _nir_readers_in_words(found["nir_readers"])))
    for name, value in rows:
        print(f"{name:20} {value}")


def _lava_in_words(found: dict[str, Any]) -> str:
    if found["version"] is None:
        return f"missing; {found['reason']}"
    netx = f"lava-dl {found['lava_dl']}" if found["lava_dl"] else "no lava-dl, so no netx"
    return (
        f"{found['version']}, {netx}, numpy {found['numpy']}, python {found['python']}: "
        f"{found['interpreter']} ({found['chosen_by']})"
    )


def _nir_readers_in_words(found: dict[str, Any]) -> str:
    versions: dict[str, str | None] = found["versions"]
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    missing = ", ".join(name for name, version in versions.items() if not version)
    where = f"{there}: {found['interpreter']} ({found['chosen_by']})"
    if not missing:
        return where
    return f"{where + '; ' if there else ''}missing: {missing}; {found['reason']}"
