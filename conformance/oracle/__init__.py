"""What should happen: the executable specification. Nothing here has seen an emulator."""
