/* What assembly and C++ share: the protocol's constants, and what protocol.toml does not have. */

#include "protocol.h"

/* The kernel's own segment selectors, but for those that the protocol names. */
#define SELECTOR_MAIN_TASK 0x28
#define SELECTOR_DOUBLE_FAULT_TASK 0x30

/* Of protocol::program_header; main.cpp checks them. */
#define PROGRAM_HEADER_SIZE 28
#define PROGRAM_OFFSET_MAGIC 0
#define PROGRAM_OFFSET_FLAGS 12

/* Of x86::AttemptStart; arch/x86/faults.hpp checks them. */
#define START_EAX 0
#define START_ECX 4
#define START_EDX 8
#define START_EBX 12
#define START_EBP 16
#define START_ESI 20
#define START_EDI 24
#define START_EFLAGS 28
#define START_ESP 32
#define START_EIP 36

/* Of x86::TaskSwitch; task_switch.hpp checks them. */
#define SWITCH_SAVE 0
#define SWITCH_LOAD 4
#define SWITCH_EBX 8
#define SWITCH_ESI 12
#define SWITCH_EDI 16
#define SWITCH_EBP 20
#define SWITCH_EFLAGS 24
#define SWITCH_FS 28
#define SWITCH_GS 32

/* Of core::ComputationRegisters; arch/x86/task_processor.cpp checks them. */
#define COMPUTATION_EAX 0
#define COMPUTATION_ECX 4
#define COMPUTATION_EDX 8
#define COMPUTATION_EBX 12
#define COMPUTATION_EBP 16
#define COMPUTATION_ESI 20
#define COMPUTATION_EDI 24

/* EFLAGS with nothing set but what always is (SDM vol. 1, 3.4.3). */
#define EFLAGS_CLEAR 0x00000002
#define EFLAGS_TRAP 0x00000100
#define EFLAGS_INTERRUPT 0x00000200
#define EFLAGS_DIRECTION 0x00000400
#define EFLAGS_OVERFLOW 0x00000800
#define EFLAGS_NESTED_TASK 0x00004000
#define EFLAGS_ALIGNMENT_CHECK 0x00040000
