/* What assembly and C++ share: the protocol's constants, and what protocol.toml does not have. */

#include "arch/x86/constants.h"

/* The registers that x86::TaskSwitch has here only. */
#define SWITCH_R8 SWITCH_OTHERS
