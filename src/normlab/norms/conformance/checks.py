"""Every check: a function of a subject that returns what is wrong, or None."""

from __future__ import annotations

from collections.abc import Iterator

from normlab.norms.conformance import backward, derivatives, modes, narrow, refusals, state, values
from normlab.norms.conformance.subject import Check, Subject, first_line

CHECKS: dict[str, Check] = {
    "signature": state.signature,
    "trains": state.trains,
    "float64": values.float64,
    "float32": values.float32,
    "derivatives": derivatives.derivatives,
    "second derivatives": derivatives.second_derivatives,
    "functional_call": backward.fast_weights,
    "parametrized gain": backward.parametrized_gain,
    "gain made by a net": backward.made_gain,
    "mode changed before backward": backward.mode_changed,
    "buffers changed before backward": backward.buffers_changed,
    "saved tensors elsewhere": backward.saved_elsewhere,
    "saved tensors, other dtype": backward.saved_in_another_dtype,
    "saved tensors, other device": backward.saved_on_another_device,
    "vectorized jacobian": derivatives.vectorized_jacobian,
    "forward-mode AD": derivatives.forward_mode,
    "buffers": state.buffers,
    "eval": state.evaluation,
    "batch of one": values.batch_of_one,
    "ragged batch": values.ragged_batch,
    "odd channels": values.odd_channels,
    "1x1 maps": values.small_maps,
    "large offset": values.large_offset,
    "very large maps": values.very_large_maps,
    "constant input": values.constant_input,
    "bfloat16": narrow.bfloat16,
    "half": narrow.half,
    "small eps in half": narrow.small_eps_in_half,
    "statistics beyond half": state.statistics_beyond_half,
    "state dict": state.state_round_trip,
    "older state dict": state.older_state_dict,
    "reset_parameters": state.reset_parameters,
    "update_bn": state.update_bn,
    "layouts": values.layouts,
    "empty batch": state.empty_batch,
    "torch.compile": modes.compiled,
    "torch.jit.trace": modes.traced,
    "torch.export": modes.exported,
    "activation": modes.activation,
    "activation module": modes.activation_module,
    "options changed": modes.changed_options,
    "limits": values.limits,
    "gate range": state.gate_range,
    "integer and complex maps": refusals.number_types,
    "state of wrong size": refusals.wrong_sizes,
    "another device": refusals.another_device,
}
"""Name -> check, in the order they run and are shown."""


def run(subject: Subject, checks: dict[str, Check] = CHECKS) -> Iterator[tuple[str, str | None]]:
    """Each check's name and what it found; an exception in a layer is a finding."""
    for name, check in checks.items():
        try:
            yield name, check(subject)
        except Exception as wrong:
            yield name, f"it raises {type(wrong).__name__}: {first_line(wrong)}"
