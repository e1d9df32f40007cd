"""What is run: memory maps, programs, machines, and the cases they make."""
