"""Results on disk: every run whole or not at all, readable without rlbench (Parquet and JSON)."""

from rlbench.store.runs import Store
from rlbench.store.tables import Planned, Tables, load_table

__all__ = ["Planned", "Store", "Tables", "load_table"]
