# Unit tests of the hardware-free part, on the host, under sanitizers.
file(GLOB test_sources CONFIGURE_DEPENDS tests/*.cpp)
add_executable(kernel_tests ${test_sources} ${core_sources})
add_dependencies(kernel_tests protocol)
target_include_directories(kernel_tests PRIVATE ${CMAKE_CURRENT_SOURCE_DIR} ${generated})
target_compile_options(kernel_tests PRIVATE ${language} ${warnings} -O1 -g
  -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
target_link_options(kernel_tests PRIVATE -fsanitize=address,undefined)
enable_testing()
add_test(NAME kernel_tests COMMAND kernel_tests)
