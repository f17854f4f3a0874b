"""The second engine: torch on any device, for any network and for packs of hundreds of replicas on a GPU."""
