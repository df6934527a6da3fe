"""Operations of reasoners, counted: GRSNN's from the spikes of its queries, NBFNet's from its
shapes.

- What is a constant of graph and weights is computed before any query and counts nothing: degrees
  and their logarithms, a gain or scale before a bias (it goes into weights), delays that do not
  depend on the query. Rounding, selecting and moving numbers are no arithmetic.
- A sum of a linear map begins with its bias, which is read and not added.
- Movement is counted as in :mod:`neuro.energy.counting`: a layer reads each number, or spike, that
  comes in once a step, and a weight at every use. Spikes read and write the sums they add to; sums
  of real products are written when they are whole. Where edges go, and the degrees of nodes, belong
  to the graph and are not read.
- What multiplies messages along an edge, or delays them, is the weight of that edge: read at every
  use, whether it was learnt or a map made it of the query.

See :class:`neuro.energy.Counts` for the kinds of operations.
"""

from neuro.graph.operations.grsnn import count_grsnn
from neuro.graph.operations.heard import count_heard
from neuro.graph.operations.nbfnet import count_nbfnet
from neuro.graph.operations.pairs import count_pairs

__all__ = ["count_grsnn", "count_heard", "count_nbfnet", "count_pairs"]
