/* What assembly and C++ share: the protocol's constants, and what protocol.toml does not have. */

#include "arch/x86/constants.h"

#define SELECTOR_DOUBLE_FAULT_TASK 0x30

/* Of protocol::program_header; paging_mode.hpp checks them. */
#define PROGRAM_HEADER_SIZE 28
#define PROGRAM_OFFSET_MAGIC 0
#define PROGRAM_OFFSET_FLAGS 12
