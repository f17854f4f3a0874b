"""What to run and where it goes: experiments, their cells and packs, and the processes that train them."""
