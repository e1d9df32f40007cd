"""What Unicorn's processor leaves out of its instructions, from the Intel SDM.

Unicorn's processor knows no segment limits, raises no #AC and reports a vector without an error
code. This package decodes an instruction and says what the processor would have done. A bare number
(5.3) is a section of SDM volume 3; "MOV" is that instruction's page in volume 2.

When to ask what, with the processor stopped before an instruction:

- A page is about to be executed for the first time: `patterns.hooked_offsets` says before which of
  its bytes to stop.
- Stopped before a load of a segment register: `segment_loads.load` executes it. Before another
  instruction: `CheckedMode.rarely_used`, and `fault_before` if that register is restricted.
- After whatever may have changed a segment register or CR0 (a segment load, the entry to a handler,
  IRET, a task switch, MOV to CR0): `CheckedMode.update`. While it is `on`, stop before every
  instruction, and if it `concerns` the instruction, ask for the `fault_before`.
- Unicorn reported an exception: `error_codes.reported`; INT n, INT3 or INTO:
  `error_codes.software_interrupt`, and INT1, which comes as an invalid instruction.

What is not known (the accesses of FPU and SSE instructions; calls through call gates; 16-bit and
virtual-8086 code) raises `NotModelled` when it is met.
"""
