"""The built-in algorithms; they come in through the entry point that is open to everybody's."""
