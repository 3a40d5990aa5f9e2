"""The only package that knows mmseg, mmcv and mmengine's Runner.

Importing it imports them, quietly: they print to standard output and warn about operators that
FCN8s does not use.
"""

import contextlib
import io
import warnings

with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mmengine.runner  # noqa: F401
    import mmseg.datasets
    import mmseg.models  # noqa: F401

warnings.filterwarnings("ignore", message=".*avg_non_ignore.*", category=UserWarning)
