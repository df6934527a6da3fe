"""What runs cost: their networks counted on their own test data, priced, and compared."""

from neuro.reports.compare import compare_runs
from neuro.reports.energy import energy_report
from neuro.reports.opening import CountOptions
from neuro.reports.run import Counted, count

__all__ = ["CountOptions", "Counted", "compare_runs", "count", "energy_report"]
