"""From presets, files, flags and ``--set`` to one checked configuration.

Later sources win: field defaults < preset of the data set < ``--config`` file < flags < ``--set``.
A preset or file may hold ``[for.NAME]`` tables; the one of the rule or method being trained lies
directly over its own file.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from neuro.config.base import OBSERVING
from neuro.config.explain import check_keys, explain
from neuro.config.kinds import (
    CLASSIFICATION,
    KINDS,
    REASONING,
    AnyConfig,
    AnyKind,
    Config,
    Kind,
    kind_of,
)
from neuro.config.merge import NO_VALUE, Settings, parse_assignment
from neuro.config.presets import preset_for, preset_names, read_file, read_preset
from neuro.config.reason import ReasonConfig
from neuro.config.train import TrainConfig
from neuro.errors import ConfigError, nearest

COMMAND_LINE = "the command line"


class LoadedConfig(NamedTuple):
    """A configuration, the preset it started from (if any), and what a user should know of it."""

    config: AnyConfig
    preset: str | None
    notes: tuple[str, ...]


def load_config(
    rule: str | None = None, /, *, source: str | Path | None = None, **settings: Any
) -> TrainConfig:
    """Return a configuration for ``rule`` with ``settings`` over the preset of its data set.

    Args:
        rule: a key of ``RULES``; may be left out when ``source`` names one.
        source: a TOML file, a run's ``config.json``, or the name of a preset.
        settings: fields of :class:`TrainConfig`; tables as dicts, e.g. ``rule={"alpha": 0.1}``.

    Raises:
        ConfigError: an unknown key, name or preset, or a value out of range.
    """
    return _of_kind(resolve_config(rule, source=source, flags=settings).config, CLASSIFICATION)


def load_reason_config(
    method: str | None = None, /, *, source: str | Path | None = None, **settings: Any
) -> ReasonConfig:
    """Return a configuration for a method of graph reasoning, likewise.

    Args:
        method: a key of ``METHODS``; may be left out when ``source`` names one.
        source: as for :func:`load_config`.
        settings: fields of :class:`ReasonConfig`; e.g. ``dataset="umls", method={"layers": 3}``.

    Raises:
        ConfigError: an unknown key, name or preset, or a value out of range.
    """
    return _of_kind(resolve_config(method, source=source, flags=settings).config, REASONING)


def resolve_config(
    name: str | None = None,
    *,
    source: str | Path | None = None,
    flags: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
) -> LoadedConfig:
    """Merge all sources; see :func:`load_config`.

    Args:
        name: of a learning rule or of a method of graph reasoning.
        source: as for :func:`load_config`.
        flags: settings by key.
        assignments: ``key=value`` texts.

    Raises:
        ConfigError: an unknown key, name or preset, or a value out of range.
    """
    given = Settings()
    _add_given(given, flags or {}, assignments)
    presets = {preset for kind in KINDS for preset in preset_names(kind.presets)}
    is_preset = source is not None and str(source) in presets
    file: dict[str, Any] = {}
    if source is not None and not is_preset:
        file = _read_user_file(source, sorted(presets))
    kind, chosen = _what_trains(name, given.table, file)
    preset = str(source) if is_preset else _base_preset(kind, given.table, file)

    settings = Settings()
    settings.add({kind.chooser: chosen}, COMMAND_LINE)
    if preset is not None:
        table = read_preset(preset, kind.presets)
        _add_with_own_table(settings, table, kind, chosen, f"preset {preset}")
    file.pop("preset", None)
    _add_with_own_table(settings, file, kind, chosen, str(source))
    for key, other in kind.alternatives.items():
        if key in given.table and other not in given.table:
            settings.add({other: NO_VALUE}, COMMAND_LINE)
    _replay(given, settings)
    config = build(settings, kind)
    return LoadedConfig(config, preset, _notes(settings, preset, config))


def resume_config(
    saved: Config, *, flags: Mapping[str, Any] | None = None, assignments: Iterable[str] = ()
) -> Config:
    """Return the saved configuration of a run with changes that leave its weights alone.

    Raises:
        ConfigError: a change would alter training (more epochs do: the cosine schedule spans them).
    """
    given, settings = Settings(), Settings()
    _add_given(given, flags or {}, assignments)
    settings.add(saved.to_json(), "the run")
    _replay(given, settings)
    kind = next(kind for kind in KINDS if isinstance(saved, kind.config))
    config = build(settings, kind)
    before, after = saved.training_settings(), config.training_settings()
    changed = [key for key in before if before[key] != after[key]]
    if changed:
        changes = ", ".join(f"{key} from {before[key]} to {after[key]}" for key in changed)
        schedule = (
            " The learning-rate schedule spans all epochs, so more epochs are another run."
            if changed == ["epochs"] and kind is CLASSIFICATION
            else ""
        )
        raise ConfigError(
            f"A resumed run keeps its configuration, but this would change {changes}.{schedule} "
            f"Only {', '.join(sorted(OBSERVING))} may change; start a new run instead."
        )
    assert isinstance(config, type(saved))
    return config


def build(settings: Settings, kind: Kind[Config]) -> Config:
    """Check merged settings.

    Raises:
        ConfigError: naming the key, where it was set, and what would be right.
    """
    check_keys(settings, kind)
    try:
        return kind.config(**settings.table)
    except ValidationError as error:
        raise ConfigError(explain(error, settings, kind)) from None


def _what_trains(
    name: str | None, given: Mapping[str, Any], file: Mapping[str, Any]
) -> tuple[AnyKind, str]:
    """Return the kind of run, and the rule or method that is asked for."""
    for kind in KINDS:
        chosen = _chosen(kind.chooser, given)
        if chosen is None and name is None:
            chosen = _chosen(kind.chooser, file)
        if chosen is None:
            continue
        if chosen not in kind.names:
            raise ConfigError(
                f'Unknown {kind.noun} "{chosen}".{nearest(chosen, kind.names)} '
                f"Known: {', '.join(kind.names)}."
            )
        return kind, chosen
    if name is None:
        raise ConfigError(f"Name {_all_names()}.")
    named = kind_of(name)
    if named is None:
        everything = [known for kind in KINDS for known in kind.names]
        raise ConfigError(
            f'Unknown learning rule or method "{name}".{nearest(name, everything)} '
            f"Name {_all_names()}."
        )
    return named, name


def _all_names() -> str:
    return ", or ".join(f"a {kind.noun}: {', '.join(kind.names)}" for kind in KINDS)


def _of_kind(config: AnyConfig, kind: Kind[Config]) -> Config:
    if not isinstance(config, kind.config):
        raise ConfigError(f'"{config.method_name}" is no {kind.noun}.')
    return config


def _add_given(settings: Settings, flags: Mapping[str, Any], assignments: Iterable[str]) -> None:
    settings.add(flags, COMMAND_LINE)
    for text in assignments:
        path, value = parse_assignment(text)
        settings.assign(path, value, f"--set {text}")


def _replay(given: Settings, onto: Settings) -> None:
    """Lay settings over others, each value keeping the source it came from."""
    for path in list(given.leaves()):
        value: Any = given.table
        for part in path:
            value = value[part]
        onto.assign(path, value, given.origin(path))


def _read_user_file(source: str | Path, names: list[str]) -> dict[str, Any]:
    text = str(source)
    if not Path(source).exists() and not text.endswith((".toml", ".json")) and "/" not in text:
        raise ConfigError(
            f'"{text}" is neither a file nor a preset.{nearest(text, names)} '
            f"Presets: {', '.join(names)}."
        )
    return read_file(Path(source))


def _chosen(key: str, *tables: Mapping[str, Any]) -> str | None:
    """The name under ``key`` in the first table that has one."""
    for table in tables:
        value = table.get(key)
        if isinstance(value, Mapping):
            value = value.get("name")
        if value is not None:
            return str(value)
    return None


def _base_preset(kind: AnyKind, given: Mapping[str, Any], file: Mapping[str, Any]) -> str | None:
    if "preset" in file:
        return str(file["preset"])
    dataset = _chosen("dataset", given, file)
    if dataset is None and _chosen("graph", given, file) is not None:
        return None
    return preset_for(dataset or kind.default_dataset, kind.presets)


def _add_with_own_table(
    settings: Settings, table: dict[str, Any], kind: AnyKind, chosen: str, source: str
) -> None:
    """Lay a file over what is there, and over that its table for what is being trained."""
    own = table.pop("for", {})
    if not isinstance(own, Mapping):
        raise ConfigError(f'"for" in {source} must hold tables named after rules or methods.')
    for name in own:
        if name not in kind.names:
            raise ConfigError(
                f"[for.{name}] in {source} names no {kind.noun}.{nearest(name, kind.names)} "
                f"Known: {', '.join(kind.names)}."
            )
    settings.add(table, source)
    settings.add({kind.chooser: chosen}, COMMAND_LINE)
    settings.add(own.get(chosen, {}), f"{source} [for.{chosen}]")


def _notes(settings: Settings, preset: str | None, config: AnyConfig) -> tuple[str, ...]:
    notes = [
        f"{key} of {source} is for {owner} and does not apply"
        for key, source, owner in settings.dropped
    ]
    if preset is None:
        notes.append(
            f"no preset belongs to data set {config.dataset_name}: plain defaults hold "
            f"(lr {config.lr:g}, batch size {config.batch_size}, {config.epochs} epochs)"
        )
    return tuple(notes)
