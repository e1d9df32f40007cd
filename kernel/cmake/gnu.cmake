# Toolchain file: the system's gcc (or clang, with -DKERNEL_COMPILER=clang++).
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR i686)
set(KERNEL_COMPILER g++ CACHE STRING "C++ compiler that can build for 32-bit x86")
set(CMAKE_CXX_COMPILER ${KERNEL_COMPILER})
set(CMAKE_ASM_COMPILER ${KERNEL_COMPILER})
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(KERNEL_TARGET_FLAGS -m32 -march=pentium3)
set(KERNEL_LINK_FLAGS -no-pie)
