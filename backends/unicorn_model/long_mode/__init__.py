"""The reference model in IA-32e mode, from the moment when paging is turned on with IA32_EFER.LME.

What is the same in all modes is taken from the packages beside this one: paging, the kinds of
events and what two of them make, the flags, Unicorn's hooks, and what makes a run: when it stops,
single steps, external interrupts. What 64-bit mode does otherwise is
here: delivery by 16-byte gates (`delivery`), instructions with 64-bit operands (`instructions`), a
processor whose registers are 64 bits wide (`processor`), and a run of it (`run`).

Not modelled: compatibility mode, but for the few instructions that a kernel enters 64-bit mode
with; call gates. Left to Unicorn as it is: SYSCALL, SYSENTER and their returns, far jumps and
returns, LTR and LLDT, and RET to an address that is not canonical.
"""
