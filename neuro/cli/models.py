"""``neuro models``: architectures with their parameters and neurons."""

from typing import Annotated, Any

from cyclopts import Parameter

from neuro.cli.output import print_json, print_table
from neuro.errors import UsageError


def models(
    name: str | None = None,
    /,
    *,
    input_shape: str = "3x32x32",
    classes: int = 10,
    assignments: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    json: bool = False,
) -> None:
    """List architectures, or the layers of one.

    Parameters
    ----------
    name
        Show the layers of this architecture.
    input_shape
        One sample at one time step, as CxHxW or as a number of features.
    classes
        Width of the read-out.
    assignments
        Options of the named architecture, e.g. --set width=0.25; may be repeated.
    json
        Print exactly one JSON object on stdout.
    """
    from neuro.config.kinds import CLASSIFICATION
    from neuro.config.load import build
    from neuro.config.merge import Settings, parse_assignment
    from neuro.models import MODELS, build_model, model_entry

    shape = _shape(input_shape)
    if classes < 1:
        raise UsageError(f"--classes must be at least 1, got {classes}.")
    if name is not None:
        model_entry(name)
    elif assignments:
        raise UsageError("--set gives options to one architecture; name it: neuro models conv5.")
    records: list[dict[str, Any]] = []
    for each in [name] if name else list(MODELS):
        settings = Settings()
        settings.add({"rule": "bptt", "model": each}, "the command line")
        for text in assignments:
            path, value = parse_assignment(text)
            path = path if path[0] == "model" else ("model", *path)
            settings.assign(path, value, f"--set {text}")
        options = build(settings, CLASSIFICATION).model
        try:
            network = build_model(options, shape, classes)
        except UsageError as error:
            if name:
                raise
            records.append({"name": each, "unsuitable": str(error)})
            continue
        layers = [layer._asdict() for layer in network.describe()]
        records.append(
            {
                "name": each,
                "description": MODELS[each].description,
                "parameters": sum(int(layer["parameters"]) for layer in layers),
                "neurons": sum(int(layer["neurons"]) for layer in layers),
                "layers": layers,
            }
        )
    if json:
        print_json({"input_shape": list(shape), "classes": classes, "models": records, "schema": 1})
        return
    print(f"input {'x'.join(map(str, shape))}, {classes} classes")
    if name:
        _print_layers(records[0])
        return
    print_table(
        ("model", "parameters", "neurons", "description"),
        [
            (r["name"], "-", "-", r["unsuitable"])
            if "unsuitable" in r
            else (r["name"], f"{r['parameters']:,}", f"{r['neurons']:,}", r["description"])
            for r in records
        ],
    )


def _print_layers(record: dict[str, Any]) -> None:
    rows = [
        (
            layer["name"],
            layer["kind"],
            "x".join(map(str, layer["output_shape"])),
            f"{layer['parameters']:,}",
            f"{layer['neurons']:,}",
        )
        for layer in record["layers"]
    ]
    total = ("total", "", "", f"{record['parameters']:,}", f"{record['neurons']:,}")
    print_table(("layer", "kind", "output", "parameters", "neurons"), [*rows, total])


def _shape(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.lower().replace(",", "x").split("x")]
    sizes = all(part.isdigit() and int(part) > 0 for part in parts)
    if not sizes or len(parts) not in (1, 3):
        raise UsageError(
            "--input-shape must be CxHxW or a number of features, as in 3x32x32 or 784; "
            f'got "{text}".'
        )
    return tuple(int(part) for part in parts)
