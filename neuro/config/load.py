"""From presets, files, flags and ``--set`` to one checked :class:`TrainConfig`.

Later sources win: field defaults < preset of the data set < ``--config`` file < flags < ``--set``.
A preset or file may hold ``[for.RULE]`` tables; the one of the rule being trained lies directly
over its own file.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from neuro.config.explain import check_keys, explain
from neuro.config.merge import Settings, parse_assignment
from neuro.config.presets import preset_for, preset_names, read_file, read_preset
from neuro.config.train import OBSERVING, TrainConfig
from neuro.errors import ConfigError, nearest
from neuro.learning import RULES

COMMAND_LINE = "the command line"
DEFAULT_DATASET = "digits"


class LoadedConfig(NamedTuple):
    """A configuration, the preset it started from (if any), and what a user should know of it."""

    config: TrainConfig
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
    return resolve_config(rule, source=source, flags=settings).config


def resolve_config(
    rule: str | None = None,
    *,
    source: str | Path | None = None,
    flags: Mapping[str, Any] | None = None,
    assignments: Iterable[str] = (),
) -> LoadedConfig:
    """Merge all sources; see :func:`load_config`. ``assignments`` are ``key=value`` texts."""
    given = _given(rule, flags or {}, assignments)
    is_preset = source is not None and str(source) in preset_names()
    file: dict[str, Any] = {}
    if source is not None and not is_preset:
        file = _read_user_file(source)
    rule_name = _chosen("rule", given.table, file)
    if rule_name is None:
        raise ConfigError(f"Name a learning rule: {', '.join(RULES)}.")
    if rule_name not in RULES:
        raise ConfigError(
            f'Unknown learning rule "{rule_name}".{nearest(rule_name, RULES)} '
            f"Rules: {', '.join(RULES)}."
        )
    preset = str(source) if is_preset else _base_preset(given.table, file)

    settings = Settings()
    settings.add({"rule": rule_name}, COMMAND_LINE)
    if preset is not None:
        _add_with_rule_table(settings, read_preset(preset), rule_name, f"preset {preset}")
    file.pop("preset", None)
    _add_with_rule_table(settings, file, rule_name, str(source))
    _replay(given, settings)
    config = build(settings)
    return LoadedConfig(config, preset, _notes(settings, preset, config))


def resume_config(
    saved: TrainConfig, *, flags: Mapping[str, Any] | None = None, assignments: Iterable[str] = ()
) -> TrainConfig:
    """Return the saved configuration of a run with changes that leave its weights alone.

    Raises:
        ConfigError: a change would alter training (more epochs do: the cosine schedule spans them).
    """
    settings = Settings()
    settings.add(saved.to_json(), "the run")
    _replay(_given(None, flags or {}, assignments), settings)
    config = build(settings)
    before, after = saved.training_settings(), config.training_settings()
    changed = [key for key in before if before[key] != after[key]]
    if changed:
        changes = ", ".join(f"{key} from {before[key]} to {after[key]}" for key in changed)
        schedule = (
            " The learning-rate schedule spans all epochs, so more epochs are another run."
            if changed == ["epochs"]
            else ""
        )
        raise ConfigError(
            f"A resumed run keeps its configuration, but this would change {changes}.{schedule} "
            f"Only {', '.join(sorted(OBSERVING))} may change; start a new run instead."
        )
    return config


def build(settings: Settings) -> TrainConfig:
    """Check merged settings.

    Raises:
        ConfigError: naming the key, where it was set, and what would be right.
    """
    check_keys(settings)
    try:
        return TrainConfig(**settings.table)
    except ValidationError as error:
        raise ConfigError(explain(error, settings)) from None


def _given(rule: str | None, flags: Mapping[str, Any], assignments: Iterable[str]) -> Settings:
    settings = Settings()
    if rule is not None:
        settings.add({"rule": rule}, COMMAND_LINE)
    settings.add(flags, COMMAND_LINE)
    for text in assignments:
        path, value = parse_assignment(text)
        settings.assign(path, value, f"--set {text}")
    return settings


def _replay(given: Settings, onto: Settings) -> None:
    """Lay settings over others, each value keeping the source it came from."""
    for path in list(given.leaves()):
        value: Any = given.table
        for part in path:
            value = value[part]
        onto.assign(path, value, given.origin(path))


def _read_user_file(source: str | Path) -> dict[str, Any]:
    text = str(source)
    if not Path(source).exists() and not text.endswith((".toml", ".json")) and "/" not in text:
        names = preset_names()
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


def _base_preset(given: Mapping[str, Any], file: Mapping[str, Any]) -> str | None:
    if "preset" in file:
        return str(file["preset"])
    return preset_for(_chosen("dataset", given, file) or DEFAULT_DATASET)


def _add_with_rule_table(settings: Settings, table: dict[str, Any], rule: str, source: str) -> None:
    per_rule = table.pop("for", {})
    if not isinstance(per_rule, Mapping):
        raise ConfigError(f'"for" in {source} must hold tables named after rules.')
    for name in per_rule:
        if name not in RULES:
            raise ConfigError(
                f"[for.{name}] in {source} names no rule.{nearest(name, RULES)} "
                f"Rules: {', '.join(RULES)}."
            )
    settings.add(table, source)
    settings.add({"rule": rule}, COMMAND_LINE)
    settings.add(per_rule.get(rule, {}), f"{source} [for.{rule}]")


def _notes(settings: Settings, preset: str | None, config: TrainConfig) -> tuple[str, ...]:
    notes = [
        f"{key} of {source} is for {owner} and does not apply"
        for key, source, owner in settings.dropped
    ]
    if preset is None:
        notes.append(
            f"no preset belongs to data set {config.dataset}: plain defaults hold "
            f"(lr {config.lr:g}, batch size {config.batch_size}, {config.epochs} epochs)"
        )
    return tuple(notes)
