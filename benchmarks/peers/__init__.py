"""Other frameworks as contenders; ``make bench-peers`` installs them in a separate environment.

Each module imports its framework at the top and is imported when that contender is asked for.
"""
