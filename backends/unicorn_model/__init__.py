"""The reference model: what the hardware should do with an image.

The processor's instructions are Unicorn's; the machine around it is written here, from the manuals:
the page walk (mmu), exceptions (exceptions), ports (ports). It runs in a process of its own
(worker), started and read out by the backend.
"""
