"""Operators that only make, view or move numbers: free, and what was known stays known.

Rounding, selecting and the sign are no arithmetic either. What a tensor carries goes along to
whatever holds its numbers: zeros go with any signal, different signals together are real numbers.
"""

from collections.abc import Callable

from neuro.energy.operators.operator_call import Call, Rule, tensors_in
from neuro.energy.operators.tensor_marks import Carried, is_whole, together

VIEWS = (
    "_reshape_alias _unsafe_view alias as_strided chunk detach diagonal expand movedim narrow "
    "permute select slice split split_with_sizes squeeze t transpose unbind unflatten unfold "
    "unsqueeze view"
)
"""What they return lies where their first argument does, and so has its mark."""
COPIES = (
    "_conj _neg_view real view_as_real unsafe_chunk unsafe_split unsafe_split_with_sizes "
    "_to_copy _unsafe_index cat channel_shuffle clone contiguous copy flip gather im2col "
    "index index_select masked_select narrow_copy native_channel_shuffle permute_copy "
    "pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat "
    "repeat_interleave replication_pad1d replication_pad2d replication_pad3d resize roll "
    "select_copy slice_copy stack take transpose_copy tril triu unfold_copy "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d "
    "_upsample_nearest_exact2d _upsample_nearest_exact3d view_copy expand_copy"
)
"""What they return holds numbers of their first argument, a tensor or several."""

WRITES = {
    "copy": "src",
    "index_copy": "source",
    "index_put": "values",
    "_unsafe_index_put": "values",
    "masked_scatter": "source",
    "scatter": "src",
    "select_scatter": "src",
    "slice_scatter": "src",
    "diagonal_scatter": "src",
}
"""What they return holds numbers of ``self``, and of this argument."""

FILLS = {
    "constant_pad_nd": "value",
    "masked_fill": "value",
    "index_fill": "value",
    "scatter": "value",
    "fill": "value",
}
"""What they return holds this number besides those of ``self``."""

ZEROS = (
    "empty empty_like empty_permuted empty_strided new_empty new_empty_strided new_zeros "
    "zero zeros zeros_like"
)
MADE = "eye full full_like linspace logspace new_full new_ones ones ones_like scalar_tensor"
LITERALS = tuple(f"aten::{name}" for name in ["arange", "lift", "lift_fresh", "lift_fresh_copy"])
"""Numbers written in the program, which are constants."""
SIGNS = "abs ceil conj_physical floor frac neg round sgn trunc"
TOLD = (
    "_assert_async _assert_scalar _linalg_check_errors _local_scalar_dense dim equal is_nonzero "
    "is_same_size item max_unpool2d max_unpool3d nonzero nonzero_static numel one_hot set size "
    "storage_offset stride sym_numel sym_size sym_storage_offset sym_stride"
)

SHARING: frozenset[str] = frozenset(f"aten::{name}" for name in VIEWS.split())


def _moves(sends: Callable[[Call], Carried]) -> Rule:
    return Rule("movement", lambda call: {}, sends=sends, moves=True)


def _carries(call: Call, operand: object) -> Carried:
    """Return what a tensor, tensors or a number carry."""
    if isinstance(operand, int | float):
        return "silent" if operand == 0 else "real"
    tensors = list(tensors_in(operand))
    zero = len(tensors) == 1 and tensors[0].dim() == 0 and not tensors[0].any()
    return "silent" if zero else together(call.marks.of(each).carries for each in tensors)


def _of_first(call: Call) -> Carried:
    return _carries(call, call.args[0])


def _of_both(call: Call) -> Carried:
    short = call.name.removeprefix("aten::")
    if short in WRITES and call.has(WRITES[short]):
        if short.endswith("index_put") and call.argument("accumulate"):
            return "real"
        return together([_of_first(call), _carries(call, call.argument(WRITES[short]))])
    if short == "fill" and is_whole(call.args[0]):
        return _carries(call, call.argument("value"))
    return together([_of_first(call), _carries(call, call.argument(FILLS[short]))])


def _chosen(call: Call) -> Carried:
    return together([_carries(call, call.argument("self")), _carries(call, call.argument("other"))])


def _of_copy(call: Call) -> Carried:
    """A copy that fills all of a storage leaves nothing of what was there."""
    source = _carries(call, call.argument("src"))
    return source if is_whole(call.args[0]) else together([_of_first(call), source])


def _named(names: str, sends: Callable[[Call], Carried]) -> dict[str, Rule]:
    return {f"aten::{name}": _moves(sends) for name in names.split()}


MOVES: dict[str, Rule] = {
    **_named(f"{VIEWS} {COPIES}", _of_first),
    **_named(" ".join([*WRITES, *FILLS]), _of_both),
    **_named(ZEROS, lambda call: "silent"),
    **_named(f"{MADE} {SIGNS} {TOLD}", lambda call: "real"),
    **{name: _moves(lambda call: "real") for name in LITERALS},
    "aten::where": _moves(_chosen),
    "aten::copy": _moves(_of_copy),
}
