/* metadata.h - one entry of an .onnx file's metadata_props */
#ifndef DPC_LAMMPS_METADATA_H
#define DPC_LAMMPS_METADATA_H

#include <string>

namespace dpc_lammps {

/* `file` is its bytes; empty where there is no such entry. */
std::string model_metadata(const std::string &file, const std::string &key);

} // namespace dpc_lammps
#endif
