FULL_SIZE = False
"""Set by conftest when times are taken; without that the benchmarks only check that all forms agree, on small images."""
