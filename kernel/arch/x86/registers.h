/* What is as wide as an address, for assembly that both architectures have: REGISTER(ax) is EAX or
   RAX. Instructions with such an operand need no suffix. */

#ifdef __x86_64__
#define REGISTER(name) %r##name
#define REGISTER_SIZE 8
#define REGISTER_DATA .quad
#define INTERRUPT_RETURN iretq
#else
#define REGISTER(name) %e##name
#define REGISTER_SIZE 4
#define REGISTER_DATA .long
#define INTERRUPT_RETURN iretl
#endif
