# find_package(dpc) defines dpc::dpc: libdpc with dpc.h and dpc.hpp, wherever this Python package was put.
get_filename_component(_dpc_root "${CMAKE_CURRENT_LIST_DIR}/../.." ABSOLUTE)
foreach(_dpc_file libdpc.so include/dpc.h)
  if(NOT EXISTS "${_dpc_root}/${_dpc_file}")
    set(dpc_FOUND FALSE)
    set(dpc_NOT_FOUND_MESSAGE "${_dpc_root} has no ${_dpc_file}: install compress-onnx again")
    return()
  endif()
endforeach()
if(NOT TARGET dpc::dpc)
  add_library(dpc::dpc SHARED IMPORTED)
  set_target_properties(dpc::dpc PROPERTIES
    IMPORTED_LOCATION "${_dpc_root}/libdpc.so"
    IMPORTED_NO_SONAME TRUE # programs look for libdpc.so by their search path, not at the place it was linked at
    INTERFACE_INCLUDE_DIRECTORIES "${_dpc_root}/include")
endif()
