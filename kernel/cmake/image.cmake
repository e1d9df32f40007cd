# Rules for the two ELF files of an image.

set(freestanding
    ${KERNEL_TARGET_FLAGS} -ffreestanding -fno-exceptions -fno-rtti -fno-pic -fno-stack-protector
    -fno-asynchronous-unwind-tables -fno-threadsafe-statics -fno-builtin -fno-ident
    -mno-sse -mno-sse2 -mno-mmx -O2 -g0)
set(link_flags -nostdlib -static ${KERNEL_TARGET_FLAGS} ${KERNEL_LINK_FLAGS} -Wl,--build-id=none)

# add_image(NAME SCRIPT SOURCES...): an ELF file linked by a preprocessed linker script.
function(add_image name script)
  set(linker_script ${CMAKE_CURRENT_BINARY_DIR}/${name}.ld)
  add_custom_command(
    OUTPUT ${linker_script}
    COMMAND ${CMAKE_CXX_COMPILER} ${CMAKE_CXX_COMPILER_ARG1} ${KERNEL_TARGET_FLAGS} -E -P -undef -x c
            -I${generated} ${CMAKE_CURRENT_SOURCE_DIR}/${script} -o ${linker_script}
    DEPENDS ${script} ${protocol_headers}
    VERBATIM)
  add_custom_target(${name}_script DEPENDS ${linker_script})
  add_executable(${name} ${ARGN})
  add_dependencies(${name} protocol ${name}_script)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${generated})
  target_compile_options(${name} PRIVATE ${freestanding} $<$<COMPILE_LANGUAGE:CXX>:${language};${warnings}>)
  target_link_options(${name} PRIVATE ${link_flags} -Wl,-T,${linker_script})
  set_target_properties(${name} PROPERTIES SUFFIX .elf LINK_DEPENDS ${linker_script})
  install(TARGETS ${name} DESTINATION conformance/_data/images/i686)
endfunction()

add_image(kernel arch/i686/kernel.ld
  arch/i686/entry.S arch/i686/memory.S arch/i686/main.cpp arch/i686/descriptors.cpp
  arch/i686/faults.S arch/i686/faults.cpp arch/i686/attempts.S arch/i686/raises.S
  arch/i686/overflows.S arch/i686/user.S arch/i686/processor.cpp
  arch/i686/tasks.S arch/i686/computations.S arch/i686/task_processor.cpp
  arch/x86/interrupt_timer.cpp arch/x86/memory_functions.cpp
  boot/run_end.S ${core_sources})
add_image(loader boot/rom.ld boot/rom.S boot/rom.cpp boot/run_end.S)

install(FILES protocol.toml DESTINATION conformance/_data)
install(DIRECTORY ../fixtures DESTINATION conformance/_data PATTERN mutants EXCLUDE)
