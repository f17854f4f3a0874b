"""Benchmarks: `make bench` measures, compares with the committed figures and writes `results/benchmarks/`.

`test_*.py` measure by pytest-benchmark, `cases.py` says what; `sb3_ppo.py`, `job.py` and `memory.py` are programs
that run in processes of their own. `publish.py` turns the measurements into the files in `results/benchmarks/`.
Every time is kept beside that of a fixed calibration workload of the same minute, and only their ratio is compared.
"""
