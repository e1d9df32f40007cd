"""Delivery of exceptions and interrupts in 32-bit protected mode, as an executable specification.

Written to be read beside the Intel SDM: a rule names its section. A bare number (6.12.1) is a
section of volume 3 in an edition where chapter 6 is "Interrupt and Exception Handling"; "INT n" and
"IRET" are the Operation sections of those pages in volume 2. Where the manual leaves something
open, a comment that starts with "Open:" says what is done here.

Not modelled (`NotModelled` is raised where it would matter): real and virtual-8086 mode, 16-bit
gates, 16-bit task-state segments, the T flag of a TSS. Not modelled and not noticed: the blocking
of NMIs, DR6 and DR7, shadow stacks.
"""
