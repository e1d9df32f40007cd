# Unit tests of the hardware-free part, on the host, under sanitizers. All but a few are about the
# constants of i686; tests/x86_64 has what is different with those of x86_64.
enable_testing()

function(add_host_tests name image)
  add_executable(${name} tests/main.cpp ${ARGN} ${core_sources})
  add_dependencies(${name} protocol)
  target_include_directories(${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${generated_${image}})
  target_compile_options(${name} PRIVATE ${language} ${warnings} -O1 -g
    -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(${name} PRIVATE -fsanitize=address,undefined)
  add_test(NAME ${name} COMMAND ${name})
endfunction()

file(GLOB test_sources CONFIGURE_DEPENDS tests/test_*.cpp)
add_host_tests(kernel_tests i686 ${test_sources})
file(GLOB x86_64_test_sources CONFIGURE_DEPENDS tests/x86_64/test_*.cpp)
add_host_tests(kernel_tests_x86_64 x86_64 ${x86_64_test_sources})
