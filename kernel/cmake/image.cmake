# Rules for the ELF files of the images: a kernel for each, and one loader for the ROM of all.

set(freestanding
    -ffreestanding -fno-exceptions -fno-rtti -fno-pic -fno-stack-protector
    -fno-asynchronous-unwind-tables -fno-threadsafe-statics -fno-builtin -fno-ident
    -mno-sse -mno-sse2 -mno-mmx -O2 -g0)

# add_elf(TARGET NAME IMAGE SCRIPT SOURCES...): TARGET builds NAME.elf for an image, in a folder of the
# image's name, linked by a preprocessed linker script.
function(add_elf target name image script)
  set(flags ${KERNEL_TARGET_FLAGS_${image}})
  set(generated ${generated_${image}})
  set(linker_script ${CMAKE_CURRENT_BINARY_DIR}/${target}.ld)
  string(TOUPPER IMAGE_${image} image_macro)
  add_custom_command(
    OUTPUT ${linker_script}
    COMMAND ${CMAKE_CXX_COMPILER} ${CMAKE_CXX_COMPILER_ARG1} ${flags} -E -P -undef -x c -D${image_macro}
            -I${generated} ${CMAKE_CURRENT_SOURCE_DIR}/${script} -o ${linker_script}
    DEPENDS ${script} ${generated}/protocol.h
    VERBATIM)
  add_custom_target(${target}_script DEPENDS ${linker_script})
  add_executable(${target} ${ARGN})
  add_dependencies(${target} protocol ${target}_script)
  target_include_directories(${target} PRIVATE
    ${CMAKE_CURRENT_SOURCE_DIR} ${CMAKE_CURRENT_SOURCE_DIR}/arch/${image} ${generated})
  target_compile_options(${target} PRIVATE ${flags} ${freestanding}
    $<$<COMPILE_LANGUAGE:CXX>:${language};${warnings}>)
  target_link_options(${target} PRIVATE -nostdlib -static ${flags} ${KERNEL_LINK_FLAGS}
    -Wl,--build-id=none -Wl,-T,${linker_script})
  set_target_properties(${target} PROPERTIES
    OUTPUT_NAME ${name} SUFFIX .elf LINK_DEPENDS ${linker_script}
    RUNTIME_OUTPUT_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/${image})
endfunction()

add_elf(loader loader i686 boot/rom.ld boot/rom.S boot/rom.cpp boot/run_end.S)

foreach(image IN LISTS images)
  file(GLOB arch_sources CONFIGURE_DEPENDS
       arch/${image}/*.S arch/${image}/*.cpp arch/x86/*.S arch/x86/*.cpp)
  add_elf(kernel_${image} kernel ${image} arch/x86/kernel.ld
    ${arch_sources} boot/run_end.S ${core_sources})
  install(TARGETS kernel_${image} DESTINATION conformance/_data/images/${image})
  install(TARGETS loader DESTINATION conformance/_data/images/${image})
endforeach()

install(FILES protocol.toml DESTINATION conformance/_data)
install(DIRECTORY ../fixtures DESTINATION conformance/_data PATTERN mutants EXCLUDE)
