"""Another norm in a ready model, or a refusal that names the layer and the way out.

`finding` has what is a norm over maps and what may not be replaced, `replacing` what the new norm
keeps of the old one, `behind` the activation that a kind with its own takes the place of,
`probing` the check on a batch, and `swap` puts them together: all of it is prepared first, so that
an error leaves the model as it was. `convolutions` is about these.
"""

from normlab.models.surgery.change import Change
from normlab.models.surgery.convolutions import swap_convolutions
from normlab.models.surgery.finding import MAP_NORMS
from normlab.models.surgery.swap import swap_norm

__all__ = ["MAP_NORMS", "Change", "swap_convolutions", "swap_norm"]
