"""The reference model: what the hardware should do with an image.

Instructions are executed by Unicorn's processor, as far as that does what the manual says. The rest
is written here, from the manuals: the page walk (mmu), the control registers (control_unit), what
an exception leads to (delivery), what Unicorn leaves out of its instructions (instructions), ports.
A run starts and stops Unicorn as it needs to (execution, emulation), by the rules of its mode (run,
long_mode.run). It takes place in a process of its own (worker), started and read out by the
backend.
"""
