"""Delivery of exceptions and interrupts in 64-bit mode, as an executable specification.

Written to be read beside the Intel SDM, like `backends.unicorn_model.delivery`, of which it uses
what the modes have in common. A bare number (6.14.1) is a section of volume 3 in an edition where
chapter 6 is "Interrupt and Exception Handling"; "INT n" and "IRET" are the Operation sections of
those pages in volume 2, or their lists of 64-bit mode exceptions. Where the manual leaves something
open, a comment that starts with "Open:" says what is done here.

Not modelled (`NotModelled` is raised where it would matter): a return to compatibility mode. Not
modelled and not noticed: the blocking of NMIs, DR6 and DR7, shadow stacks.
"""
