/* What assembly and C++ share: the protocol's constants, and what protocol.toml does not have. */

#include "arch/x86/registers.h"
#include "protocol.h"

/* The kernel's own segment selector, beside those that the protocol names. In IA-32e mode the task's
   descriptor has 16 bytes. */
#define SELECTOR_MAIN_TASK 0x28

/* Of x86::AttemptStart; arch/x86/faults.hpp checks them. */
#define START_EAX 0
#define START_ECX (1 * REGISTER_SIZE)
#define START_EDX (2 * REGISTER_SIZE)
#define START_EBX (3 * REGISTER_SIZE)
#define START_EBP (4 * REGISTER_SIZE)
#define START_ESI (5 * REGISTER_SIZE)
#define START_EDI (6 * REGISTER_SIZE)
#define START_EFLAGS (7 * REGISTER_SIZE)
#define START_ESP (8 * REGISTER_SIZE)
#define START_EIP (9 * REGISTER_SIZE)

/* Of x86::TaskSwitch; arch/x86/task_switch.hpp checks them. */
#define SWITCH_SAVE 0
#define SWITCH_LOAD (1 * REGISTER_SIZE)
#define SWITCH_EBX (2 * REGISTER_SIZE)
#define SWITCH_ESI (3 * REGISTER_SIZE)
#define SWITCH_EDI (4 * REGISTER_SIZE)
#define SWITCH_EBP (5 * REGISTER_SIZE)
#define SWITCH_EFLAGS (6 * REGISTER_SIZE)
#define SWITCH_FS (7 * REGISTER_SIZE)
#define SWITCH_GS (8 * REGISTER_SIZE)
#define SWITCH_OTHERS (9 * REGISTER_SIZE)

/* Of core::ComputationRegisters; arch/x86/task_processor.cpp checks them. */
#define COMPUTATION_EAX 0
#define COMPUTATION_ECX 4
#define COMPUTATION_EDX 8
#define COMPUTATION_EBX 12
#define COMPUTATION_EBP 16
#define COMPUTATION_ESI 20
#define COMPUTATION_EDI 24

/* EFLAGS with nothing set but what always is (SDM vol. 1, 3.4.3); RFLAGS has no others. */
#define EFLAGS_CLEAR 0x00000002
#define EFLAGS_TRAP 0x00000100
#define EFLAGS_INTERRUPT 0x00000200
#define EFLAGS_DIRECTION 0x00000400
#define EFLAGS_OVERFLOW 0x00000800
#define EFLAGS_NESTED_TASK 0x00004000
#define EFLAGS_ALIGNMENT_CHECK 0x00040000
