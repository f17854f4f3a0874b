"""Settings for all tests."""

import os

# Tests run side by side on few cores; a second thread per test only waits for the first. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
