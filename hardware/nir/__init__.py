"""Networks as NIR graphs and back, in the dialect of each framework that reads them.

    graph = to_nir(network, target="norse")        model = from_nir("model.nir")
    write_nir(graph, "model.nir")                  outputs, state = model.sequence(inputs)

NIR, the Neuromorphic Intermediate Representation, describes spiking networks in continuous time
(Pedersen et al., Nature Communications 15, 2024). ``conformance`` runs a file in the readers that
are installed.
"""

from neuro.errors import MissingPackageError

try:
    import nir as _nir  # noqa: F401
except ImportError as error:
    raise MissingPackageError("nir", "nir") from error

from neuro.hardware.nir.dialects import DIALECTS, convert
from neuro.hardware.nir.export import ExportWarning, to_nir
from neuro.hardware.nir.file import read_nir, write_nir
from neuro.hardware.nir.imports import from_nir, interpret, to_network
from neuro.hardware.nir.integers import integers_from_nir, integers_to_nir
from neuro.hardware.nir.interpreter import Interpreter
from neuro.hardware.nir.reading import LossyImportWarning

__all__ = [
    "DIALECTS",
    "ExportWarning",
    "Interpreter",
    "LossyImportWarning",
    "convert",
    "from_nir",
    "integers_from_nir",
    "integers_to_nir",
    "interpret",
    "read_nir",
    "to_network",
    "to_nir",
    "write_nir",
]
