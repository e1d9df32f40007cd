# Toolchain file: the clang that comes with the pip package `ziglang`, which needs nothing else.
set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR i686)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
execute_process(
  COMMAND ${Python3_EXECUTABLE} -c
          "import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).parent / 'zig')"
  OUTPUT_VARIABLE zig OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE no_zig)
if(no_zig)
  message(FATAL_ERROR "the Python package ziglang is missing: pip install ziglang")
endif()
set(CMAKE_CXX_COMPILER ${zig} c++)
set(CMAKE_ASM_COMPILER ${zig} cc)
# What CMake would find out by building a hosted program, and with it a whole C++ library.
foreach(language CXX ASM)
  set(CMAKE_${language}_COMPILER_FORCED TRUE)
  set(CMAKE_${language}_COMPILER_ID Clang)
  set(CMAKE_${language}_COMPILER_ID_RUN TRUE)
endforeach()
set(KERNEL_TARGET_FLAGS_i686 -target x86-linux-musl -mcpu=i686 -fno-sanitize=all)
set(KERNEL_TARGET_FLAGS_x86_64 -target x86_64-linux-musl -mcpu=x86_64 -mcmodel=kernel -mno-red-zone
                               -fno-sanitize=all)
