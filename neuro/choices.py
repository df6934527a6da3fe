"""One check for every option class: a field with listed values holds one of them."""

from typing import Literal, get_args, get_origin, get_type_hints

from neuro.errors import UsageError, nearest


def check_choices(options: object) -> None:
    """Check the ``Literal`` fields of an option dataclass, as configs do for those they read.

    Without it a misspelt value given in Python would silently mean "anything else".

    Raises:
        UsageError: a field holds none of its values; names the field and the nearest value.
    """
    for name, hint in get_type_hints(type(options)).items():
        if get_origin(hint) is not Literal:
            continue
        choices, value = get_args(hint), getattr(options, name)
        if value not in choices:
            raise UsageError(
                f"{type(options).__name__}.{name} must be one of "
                f"{', '.join(map(repr, choices))}, got {value!r}.{nearest(str(value), choices)}"
            )
