/* For user.S, and for accesses in ring 3 that only one architecture has: `address` and `value` are
   registers. What they are part of goes into section .user_code. */
.macro user_access_attempt name, address, value
.globl fault_at_user_read_\name, fault_at_user_write_\name
fault_at_user_read_\name:
    mov (\address), \value
    jmp user_attempt_over
fault_at_user_write_\name:
    mov \value, (\address)
    jmp user_attempt_over
.endm
