/* What assembly and C++ share: the protocol's constants, and what protocol.toml does not have. */

#include "protocol.h"

/* The kernel's own segment selectors, but for those that the protocol names. The task's descriptor
   has 16 bytes. */
#define SELECTOR_MAIN_TASK 0x28

/* Of x86::AttemptStart; arch/x86/faults.hpp checks them. */
#define START_EAX 0
#define START_ECX 8
#define START_EDX 16
#define START_EBX 24
#define START_EBP 32
#define START_ESI 40
#define START_EDI 48
#define START_EFLAGS 56
#define START_ESP 64
#define START_EIP 72

/* Of x86::TaskSwitch; task_switch.hpp checks them. */
#define SWITCH_SAVE 0
#define SWITCH_LOAD 8
#define SWITCH_EBX 16
#define SWITCH_ESI 24
#define SWITCH_EDI 32
#define SWITCH_EBP 40
#define SWITCH_EFLAGS 48
#define SWITCH_FS 56
#define SWITCH_GS 64
#define SWITCH_R8 72

/* Of core::ComputationRegisters; arch/x86/task_processor.cpp checks them. */
#define COMPUTATION_EAX 0
#define COMPUTATION_ECX 4
#define COMPUTATION_EDX 8
#define COMPUTATION_EBX 12
#define COMPUTATION_EBP 16
#define COMPUTATION_ESI 20
#define COMPUTATION_EDI 24

/* RFLAGS with nothing set but what always is (SDM vol. 1, 3.4.3). */
#define EFLAGS_CLEAR 0x00000002
#define EFLAGS_TRAP 0x00000100
#define EFLAGS_INTERRUPT 0x00000200
#define EFLAGS_DIRECTION 0x00000400
#define EFLAGS_OVERFLOW 0x00000800
#define EFLAGS_NESTED_TASK 0x00004000
#define EFLAGS_ALIGNMENT_CHECK 0x00040000
